// Package pct is the hypervisor adapter of Proxmox VE. It drives a node's
// containers by its own programs: pct changes, pvesh and pvesm read. It starts
// them through package run alone, never asks PVE to execute anything inside a
// guest, and believes no exit status: what a program says is classified by its
// text, and what became of the guest is read back.
//
// What PVE cannot tell it does not tell: Storage has the root file system of a
// running guest alone, and a restore's progress is its beginning and its end.
package pct

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
)

// Options name the node and what of it is not in its usual place. The zero
// value is right on a PVE node.
type Options struct {
	// Programs, looked up in PATH when they hold no slash. Defaults: their names.
	Pct, Pvesh, Pvesm, DpkgQuery string

	Node   string // default: this host's name up to the first full stop
	NetDir string // where interfaces are; default /sys/class/net
	PVEDir string // the cluster file system; default /etc/pve

	// MountDir is the directory below which all mounts of guests are. Attach
	// and Start refuse a guest that mounts another one of the node; "" allows all.
	MountDir string

	Poll   time.Duration // between two looks at a guest that changes; default 500 ms
	Settle time.Duration // how long a change may take to be seen; default 15 s
	HA     time.Duration // the same where the HA manager makes the change; default 2 min
	Clean  time.Duration // the same for a failed restore's worker, and for what it left; default 2 min
}

// Driver serves the guests of one node. It implements [driver.Hypervisor].
type Driver struct {
	o Options
}

var _ driver.Hypervisor = (*Driver)(nil)

// New returns the driver of this node. It looks at nothing yet; see Check.
func New(o Options) (*Driver, error) {
	o.Pct = cmp.Or(o.Pct, "pct")
	o.Pvesh = cmp.Or(o.Pvesh, "pvesh")
	o.Pvesm = cmp.Or(o.Pvesm, "pvesm")
	o.DpkgQuery = cmp.Or(o.DpkgQuery, "dpkg-query")
	o.NetDir = cmp.Or(o.NetDir, "/sys/class/net")
	o.PVEDir = cmp.Or(o.PVEDir, "/etc/pve")
	o.Poll = cmp.Or(o.Poll, 500*time.Millisecond)
	o.Settle = cmp.Or(o.Settle, 15*time.Second)
	o.HA = cmp.Or(o.HA, 2*time.Minute)
	o.Clean = cmp.Or(o.Clean, 2*time.Minute)
	if o.Node == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("name of this node: %w", err)
		}
		o.Node, _, _ = strings.Cut(name, ".")
	}
	return &Driver{o: o}, nil
}

// Status implements [driver.Hypervisor]. PVE keeps no console.
func (d *Driver) Status(ctx context.Context, vmid int) (driver.Status, error) {
	st, err := d.status(ctx, vmid)
	if err != nil {
		return driver.Status{}, wrap(vmid, "status", err)
	}
	return driver.Status{State: st.State()}, nil
}

// Storage returns the root file system of a running guest. PVE has no figures
// of a stopped one (ErrNotRunning), and none of mount points but in a table
// with rounded numbers.
func (d *Driver) Storage(ctx context.Context, vmid int) ([]driver.Usage, error) {
	st, err := d.status(ctx, vmid)
	if err != nil {
		return nil, wrap(vmid, "storage", err)
	}
	if st.State() != driver.Running {
		return nil, wrap(vmid, "storage", refuse(driver.ErrNotRunning, "", "PVE measures running guests only"))
	}
	size, used := int64(st.MaxDisk), int64(st.Disk)
	return []driver.Usage{{Path: "/", Size: size, Used: min(used, size), Available: max(size-used, 0)}}, nil
}
