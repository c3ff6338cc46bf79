package pct

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // PVE's digest of a configuration
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/regular"
)

// maxGuestConfig is the size limit of a file in the cluster file system. A line
// that exceeds the parser's limit is an error as well: a part of a
// configuration that was not read must not make a guest look unfinished.
const (
	maxGuestConfig = 1 << 20
	maxGuestLine   = 64 << 10
)

// readFile reads guest vmid's configuration from the cluster file system, which
// needs no process. It returns false if PVE itself must be asked.
func (d *Driver) readFile(vmid int) (config *pctconf.Config, digest string, ok bool, err error) {
	dir := filepath.Join(d.o.PVEDir, "lxc")
	data, err := regular.Read(filepath.Join(dir, strconv.Itoa(vmid)+".conf"), maxGuestConfig)
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(dir); statErr != nil {
			return nil, "", false, nil
		}
		if list, listErr := d.vmlistFile(); listErr != nil || list.has(vmid) {
			return nil, "", false, nil
		}
		return nil, "", true, driver.Faultf(driver.ErrNotFound, "", "Configuration file 'nodes/%s/lxc/%d.conf' does not exist", d.o.Node, vmid)
	}
	if err != nil {
		return nil, "", true, err
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		if len(line) > maxGuestLine {
			return nil, "", true, fmt.Errorf("configuration of guest %d: a line exceeds the limit of %d bytes", vmid, maxGuestLine)
		}
	}
	config, _ = pctconf.Parse(data)
	sum := sha1.Sum(data) //nolint:gosec // PVE's digest of a configuration
	return config, hex.EncodeToString(sum[:]), true, nil
}

// vmlist are the VMIDs of the whole cluster.
type vmlist struct {
	IDs map[string]vmOf `json:"ids"`
}

type vmOf struct{ Node, Type string }

func (l vmlist) has(vmid int) bool {
	_, ok := l.IDs[strconv.Itoa(vmid)]
	return ok
}

// maxVMList is a hundred bytes for each of ten thousand guests.
const maxVMList = 1 << 20

func (d *Driver) vmlistFile() (list vmlist, err error) {
	data, err := regular.Read(filepath.Join(d.o.PVEDir, ".vmlist"), maxVMList)
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err == nil && list.IDs == nil {
		err = errors.New("no VMIDs in the list of guests")
	}
	return list, err
}

// vmlist reads the list from the cluster file system, or else asks PVE.
func (d *Driver) vmlist(ctx context.Context) (vmlist, error) {
	if err := context.Cause(ctx); err != nil {
		return vmlist{}, err
	}
	list, err := d.vmlistFile()
	if err == nil {
		return list, nil
	}
	var guests []struct {
		VMID number `json:"vmid"`
		Node string `json:"node"`
		Type string `json:"type"`
	}
	if err := d.ask(ctx, &guests, "/cluster/resources", "--type", "vm"); err != nil {
		return vmlist{}, err
	}
	list = vmlist{IDs: map[string]vmOf{}}
	for _, g := range guests {
		list.IDs[strconv.FormatInt(int64(g.VMID), 10)] = vmOf{Node: g.Node, Type: g.Type}
	}
	return list, nil
}

// waiting returns the keys with a change that waits for the next start.
func waiting(config *pctconf.Config) map[string]bool {
	keys := map[string]bool{}
	if config.Pending == nil {
		return keys
	}
	for _, s := range config.Pending.Settings {
		if s.Key != "delete" {
			keys[s.Key] = true
			continue
		}
		for key := range strings.FieldsFuncSeq(s.Value, isListSeparator) {
			keys[strings.TrimPrefix(key, "!")] = true
		}
	}
	return keys
}

// config reads the configuration in effect, from its file or, if there is none,
// from PVE; then without snapshots and pending changes.
func (d *Driver) config(ctx context.Context, vmid int) (config *pctconf.Config, digest string, err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, "", err
	}
	if config, digest, ok, err := d.readFile(vmid); ok {
		return config, digest, err
	}
	return d.askConfig(ctx, vmid)
}
