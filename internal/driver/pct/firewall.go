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

// keptRules is the name of a copy of a VMID's firewall rules, which PVE does not read.
func keptRules(vmid int) string { return rulesFile(vmid) + ".felhom-agentd" }

// keepRules returns the firewall rules of a VMID that has no guest, and keeps a copy of
// them beside the file: PVE removes them when it begins a clone, and with what an
// interrupted restore or clone left. It puts back those that a killed process kept. The
// copy is removed by putBackRules, or else by the Discard of what is left.
func (d *Driver) keepRules(vmid int) (rules []byte, err error) {
	rules, err = d.readRules(vmid)
	if err == nil && rules == nil {
		rules, err = d.returnRules(vmid)
	}
	if err == nil && rules != nil {
		err = d.writeRules(keptRules(vmid), rules)
	}
	if err != nil {
		return nil, fmt.Errorf("keep the firewall rules of that VMID, which PVE may remove: %w", err)
	}
	return rules, nil
}

// returnRules puts back the firewall rules that keepRules kept, if any, and removes
// the copy. The VMID has no guest.
func (d *Driver) returnRules(vmid int) (rules []byte, err error) {
	rules, err = regular.Read(filepath.Join(d.firewallDir(), keptRules(vmid)), maxGuestConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = d.writeRules(rulesFile(vmid), rules)
	}
	if err != nil {
		return nil, fmt.Errorf("put back firewall rules: %w", err)
	}
	return rules, d.forgetRules(vmid)
}

// forgetRules removes the copy of a VMID's firewall rules: they are those of its guest.
func (d *Driver) forgetRules(vmid int) error {
	if err := os.Remove(filepath.Join(d.firewallDir(), keptRules(vmid))); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// adoptRules makes the present firewall rules those of the whole guest that a killed restore
// left. It refuses if they are not those that keepRules kept: the archive may have
// brought them.
func (d *Driver) adoptRules(vmid int) error {
	kept := filepath.Join(d.firewallDir(), keptRules(vmid))
	before, err := regular.Read(kept, maxGuestConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	now, nowErr := d.readRules(vmid)
	if err := errors.Join(err, nowErr); err != nil {
		return err
	}
	if now != nil && !bytes.Equal(now, before) {
		return driver.Faultf(driver.ErrRefused, "leave the right rules in "+rulesFile(vmid)+", and remove "+kept,
			"its firewall rules are not those from before an interrupted restore, which are in %s", kept)
	}
	return d.forgetRules(vmid)
}

// putBackRules restores the firewall rules of a VMID from before a failed
// restore, which has replaced them or removed them with the guest. It does
// nothing if the guest exists: the rules are that guest's.
func (d *Driver) putBackRules(ctx context.Context, vmid int, rules []byte) error {
	if _, _, err := d.config(context.WithoutCancel(ctx), vmid); !errors.Is(err, driver.ErrNotFound) {
		return nil //nolint:nilerr // not known to be gone; undo has reported it
	}
	if now, err := d.readRules(vmid); err != nil || !bytes.Equal(now, rules) || (now == nil) != (rules == nil) {
		if err := d.putBack(vmid, rules); err != nil {
			return err
		}
	}
	return d.forgetRules(vmid)
}

// putBack makes rules the firewall rules of a VMID; nil: it has none.
func (d *Driver) putBack(vmid int, rules []byte) error {
	if rules == nil {
		return os.Remove(filepath.Join(d.firewallDir(), rulesFile(vmid)))
	}
	return d.writeRules(rulesFile(vmid), rules)
}

func (d *Driver) writeRules(name string, rules []byte) error {
	err := atomicfile.In(d.firewallDir(), func(root *os.Root) error {
		return atomicfile.Replace(root, name, rules, atomicfile.Attr{Mode: 0o640})
	})
	if err != nil {
		return fmt.Errorf("firewall rules: %w", err)
	}
	return nil
}
