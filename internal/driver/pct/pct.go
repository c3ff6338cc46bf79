// Package pct drives the containers of a Proxmox VE node by the node's own
// programs: call [New], then [Driver.Check]. pct changes guests. It reads the
// node's files where possible, because each program takes a second to start; if a
// file is missing or not understood, it asks pvesm and pvesh. It starts programs
// only through package run, never asks PVE to execute anything inside a guest,
// and trusts no exit status: it classifies a program's output by its text, and
// reads back the state of the guest.
//
// PVE does not report everything: a restore's progress is its start and its end.
package pct

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
)

// Options name the node and its files in unusual places. The zero value is
// right on a PVE node.
type Options struct {
	// Programs, looked up in PATH when they hold no slash. Defaults: their names.
	Pct, Pvesh, Pvesm, DpkgQuery string

	Node   string // default: this host's name up to the first full stop
	NetDir string // where interfaces are; default /sys/class/net
	PVEDir string // the cluster file system; default /etc/pve

	UnixSockets string // the kernel's list of them; default /proc/net/unix
	TaskFile    string // PVE's list of active tasks; default /var/log/pve/tasks/active
	LXCDir      string // the directory of PVE's containers for LXC; default /var/lib/lxc
	LocalDir    string // of the storage "local", whose place PVE fixes; default /var/lib/vz

	// MountDir is the directory of all guests' mounts, which are named by their
	// VMIDs. Attach and Start refuse a guest that mounts another directory of the
	// node than its own one; "" allows all.
	MountDir string

	// MountInfo lists this process's mounts; default /proc/self/mountinfo.
	// Unmount ends one of them; default umount2(2).
	MountInfo string
	Unmount   func(path string) error

	Poll   time.Duration // between two looks at a guest that changes; default 500 ms
	Settle time.Duration // how long a change may take to be seen; default 15 s
	HA     time.Duration // the same if the HA manager makes the change; default 2 min
	Clean  time.Duration // the same for a failed restore's worker, and for what it left; default 2 min
}

// Driver serves the guests of one node. It implements [driver.Hypervisor].
type Driver struct {
	o     Options
	paths sync.Map // of backups on storages that only PVE knows: volume to path
}

var _ driver.Hypervisor = (*Driver)(nil)

// withFiles returns o with the node's usual files.
func (o Options) withFiles() Options {
	o.NetDir = cmp.Or(o.NetDir, "/sys/class/net")
	o.PVEDir = cmp.Or(o.PVEDir, DefaultDir)
	o.UnixSockets = cmp.Or(o.UnixSockets, "/proc/net/unix")
	o.TaskFile = cmp.Or(o.TaskFile, "/var/log/pve/tasks/active")
	o.LXCDir = cmp.Or(o.LXCDir, "/var/lib/lxc")
	o.LocalDir = cmp.Or(o.LocalDir, "/var/lib/vz")
	o.MountInfo = cmp.Or(o.MountInfo, "/proc/self/mountinfo")
	return o
}

// New returns the driver of this node. It does not look at the node; see Check.
func New(o Options) (*Driver, error) {
	o.Pct = cmp.Or(o.Pct, "pct")
	o.Pvesh = cmp.Or(o.Pvesh, "pvesh")
	o.Pvesm = cmp.Or(o.Pvesm, "pvesm")
	o.DpkgQuery = cmp.Or(o.DpkgQuery, "dpkg-query")
	o = o.withFiles()
	if o.Unmount == nil {
		o.Unmount = unmountPath
	}
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
	if _, _, err := d.config(ctx, vmid); err != nil {
		return driver.Status{}, wrap(vmid, "status", err)
	}
	state, err := d.state(ctx, vmid)
	return driver.Status{State: state}, wrap(vmid, "status", err)
}

// Storage returns what [Meter.Storage] does, or else the root file system as PVE
// measures it: it has no figures of a stopped guest (ErrNotRunning), and those of
// mount points only in a table with rounded numbers.
func (d *Driver) Storage(ctx context.Context, vmid int) ([]driver.Usage, error) {
	now, err := d.Status(ctx, vmid)
	if err != nil {
		return nil, err
	}
	if now.State != driver.Running {
		return nil, wrap(vmid, "storage", driver.Faultf(driver.ErrNotRunning, "", "PVE measures running guests only"))
	}
	if usage, err := NewMeter(d.o).Storage(ctx, vmid); err == nil {
		return usage, nil
	}
	st, err := d.status(ctx, vmid)
	if err != nil {
		return nil, wrap(vmid, "storage", err)
	}
	if st.State() != driver.Running {
		return nil, wrap(vmid, "storage", driver.Faultf(driver.ErrNotRunning, "", "PVE measures running guests only"))
	}
	size, used := int64(st.MaxDisk), int64(st.Disk)
	return []driver.Usage{{Path: "/", Size: size, Used: min(used, size), Available: max(size-used, 0)}}, nil
}
