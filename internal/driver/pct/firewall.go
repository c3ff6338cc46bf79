package pct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/regular"
)

// bringsRules refuses an archive with firewall rules, which PVE would apply to
// the guest.
func bringsRules(archive string) error {
	return driver.Faultf(driver.ErrArchive, "empty ./etc/vzdump/pct.fw of the archive, and set the rules on the node",
		"%s: it brings firewall rules, which PVE makes the guest's", archive)
}

func (d *Driver) firewallDir() string { return filepath.Join(d.o.PVEDir, "firewall") }

func rulesFile(vmid int) string { return strconv.Itoa(vmid) + ".fw" }

// readRules returns the firewall rules of a VMID, nil if there are none. An
// operator may have made them before the guest.
func (d *Driver) readRules(vmid int) ([]byte, error) {
	data, err := regular.Read(filepath.Join(d.firewallDir(), rulesFile(vmid)), maxGuestConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// putBackRules restores the firewall rules of a VMID from before a failed
// restore, which has replaced them or removed them with the guest. It does
// nothing if the guest exists: the rules are that guest's.
func (d *Driver) putBackRules(ctx context.Context, vmid int, rules []byte) error {
	if _, _, err := d.config(context.WithoutCancel(ctx), vmid); !errors.Is(err, driver.ErrNotFound) {
		return nil //nolint:nilerr // not known to be gone; undo has reported it
	}
	if now, err := d.readRules(vmid); err == nil && bytes.Equal(now, rules) && (now == nil) == (rules == nil) {
		return nil
	}
	return d.putBack(vmid, rules)
}

// putBack makes rules the firewall rules of a VMID; nil: it has none.
func (d *Driver) putBack(vmid int, rules []byte) error {
	err := atomicfile.In(d.firewallDir(), func(root *os.Root) error {
		if rules == nil {
			return root.Remove(rulesFile(vmid))
		}
		return atomicfile.Write(root, rulesFile(vmid), rules, atomicfile.Attr{Mode: 0o640})
	})
	if err != nil {
		return fmt.Errorf("put back firewall rules: %w", err)
	}
	return nil
}
