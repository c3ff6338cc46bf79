package lxc

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How long a cgroup may stay busy: liblxc's monitor ends a moment after the
// guest, and a guest of the same name in another lxcpath may run on.
const (
	cgroupLimit = 2 * time.Second
	cgroupPoll  = 20 * time.Millisecond
)

// sweepCgroups removes the empty cgroups of a guest that does not run. liblxc
// leaves its monitor's behind when a start fails while the machine is busy.
func (d *Driver) sweepCgroups(ctx context.Context, vmid int) error {
	return inNamespace(d.prepareCgroups, func() error {
		ctx, cancel := context.WithTimeout(ctx, cgroupLimit)
		defer cancel()
		tick := time.NewTicker(cgroupPoll)
		defer tick.Stop()
		for {
			err := removeCgroups(filepath.Join(d.o.SysDir, "fs/cgroup"), vmid)
			if !errors.Is(err, unix.EBUSY) {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil // of another process that runs
			}
		}
	})
}

// removeCgroups removes the cgroups that liblxc names after the guest:
// lxc.monitor.8200 and lxc.payload.8200, with -1 and so on appended if the name
// was in use.
func removeCgroups(root string, vmid int) error {
	var all []error
	for _, kind := range []string{"lxc.monitor.", "lxc.payload."} {
		name := kind + strconv.Itoa(vmid)
		found, err := filepath.Glob(filepath.Join(root, name+"*"))
		if err != nil {
			return err
		}
		for _, dir := range found {
			if suffix := strings.TrimPrefix(filepath.Base(dir), name); suffix == "" || suffix[0] == '-' && strings.Trim(suffix[1:], "0123456789") == "" {
				all = append(all, removeTree(dir))
			}
		}
	}
	return errors.Join(all...)
}

// removeTree removes a cgroup and those in it, the inner ones first; the kernel
// removes a cgroup's files. It returns EBUSY and removes nothing if there is a
// process in it: it may belong to a running guest of that name in another
// lxcpath.
func removeTree(dir string) error {
	events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	if err == nil && slices.Contains(strings.Split(string(events), "\n"), "populated 1") {
		return &fs.PathError{Op: "remove", Path: dir, Err: unix.EBUSY}
	}
	var dirs []string
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- {
		err = os.Remove(dirs[i])
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // liblxc was faster
	}
	return err
}
