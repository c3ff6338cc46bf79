package pct

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// status is a guest's state in PVE's words.
type status struct {
	Status  string `json:"status"`
	Disk    number `json:"disk"`
	MaxDisk number `json:"maxdisk"`
}

func (s status) State() driver.State {
	if s.Status == "running" {
		return driver.Running
	}
	return driver.Stopped
}

func (d *Driver) status(ctx context.Context, vmid int) (st status, err error) {
	err = d.get(ctx, &st, resource(vmid, "status/current"))
	return st, err
}

func resource(vmid int, what string) string { return "/lxc/" + strconv.Itoa(vmid) + "/" + what }

// view is a guest as one look found it.
type view struct {
	state   driver.State
	lock    string
	config  *pctconf.Config // without what is pending
	digest  string
	partial bool
	clone   string // of a partial guest: the task that may still be making it
}

// askConfig asks PVE for the configuration as it is in effect.
func (d *Driver) askConfig(ctx context.Context, vmid int) (config *pctconf.Config, digest string, err error) {
	var raw map[string]json.RawMessage
	if err := d.get(ctx, &raw, resource(vmid, "config"), "--current", "1"); err != nil {
		return nil, "", err
	}
	config = &pctconf.Config{}
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		value := raw[key]
		switch key {
		case "lxc":
			var pairs [][2]string
			if err := json.Unmarshal(value, &pairs); err != nil {
				return nil, "", fmt.Errorf("lxc of guest %d: %w", vmid, err)
			}
			for _, p := range pairs {
				config.LXC = append(config.LXC, pctconf.Setting{Key: p[0], Value: p[1]})
			}
		case "digest":
			digest = text(value)
		case "description":
			// The parser of PVE ends each line of it, the last one too.
			config.Description = strings.TrimSuffix(text(value), "\n")
		default:
			config.Settings = append(config.Settings, pctconf.Setting{Key: key, Value: text(value)})
		}
	}
	return config, digest, nil
}

// text is a JSON value in the form of pct.conf: perl may write 512 or "512".
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// look reads the state and configuration of a guest.
func (d *Driver) look(ctx context.Context, vmid int) (v view, err error) {
	if v.config, v.digest, err = d.config(ctx, vmid); err != nil {
		return view{}, err
	}
	if v.state, err = d.state(ctx, vmid); err != nil {
		return view{}, err
	}
	v.lock, _ = v.config.Get("lock")
	if !unfinished(v.config) {
		return v, nil
	}
	w, err := d.tasks(ctx, vmid)
	v.partial, v.clone = w.own == "", w.clone
	return v, err
}

// unfinished reports whether the configuration is one that a restore or a destroy
// works on, or that one of them left. PVE writes the root file system's line
// only after everything was extracted.
func unfinished(config *pctconf.Config) bool {
	lock, _ := config.Get("lock")
	_, rootfs := config.Get("rootfs")
	return lock == "create" || lock == "destroyed" || !rootfs
}

// whole is look for calls that need a complete guest that no other task works
// on.
func (d *Driver) whole(ctx context.Context, vmid int) (view, error) {
	v, err := d.look(ctx, vmid)
	switch {
	case err != nil:
		return v, err
	case v.partial:
		return v, driver.Faultf(driver.ErrPartial, "what is left of it has to be discarded first", "its lock is %q and no task works on it", v.lock)
	case v.lock != "":
		return v, driver.Faultf(driver.ErrBusy, "wait for that task, or take the lock away with pct unlock when there is none", "CT is locked (%s)", v.lock)
	}
	return v, nil
}

// Guest implements [driver.Hypervisor].
func (d *Driver) Guest(ctx context.Context, vmid int) (driver.Guest, error) {
	v, err := d.look(ctx, vmid)
	if err != nil {
		return driver.Guest{}, wrap(vmid, "look", err)
	}
	uid, gid, err := pctconf.RootIDs(v.config)
	if err != nil {
		return driver.Guest{}, wrap(vmid, "look", err)
	}
	g, _ := driver.GuestOf(vmid, v.config) // PVE keeps a wrong line, which has no effect
	g.State, g.Partial, g.Root = v.state, v.partial, driver.IDs{UID: uid, GID: gid}
	return g, nil
}

// netOf returns net0; the zero value if there is none that can be read.
func netOf(config *pctconf.Config) driver.Net {
	n, _, err := config.Net(0)
	if err != nil {
		return driver.Net{}
	}
	return n
}
