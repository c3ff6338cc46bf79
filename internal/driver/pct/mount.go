package pct

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/felhom/felhom-golden/internal/driver"
)

// pending returns the keys with a change that waits for the next start.
func (d *Driver) pending(ctx context.Context, vmid int) (map[string]bool, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if config, _, ok, err := d.readFile(vmid); ok && err != nil {
		return nil, err
	} else if ok {
		return waiting(config), nil
	}
	var items []struct {
		Key     string `json:"key"`
		Pending any    `json:"pending"`
		Delete  number `json:"delete"`
	}
	if err := d.get(ctx, &items, resource(vmid, "pending")); err != nil {
		return nil, err
	}
	keys := map[string]bool{}
	for _, item := range items {
		if item.Pending != nil || item.Delete != 0 {
			keys[item.Key] = true
		}
	}
	return keys, nil
}

// Attach implements [driver.Hypervisor]. The mount has replicate=0, because
// replicating it would end every replication job of the guest.
func (d *Driver) Attach(ctx context.Context, vmid int, m driver.Mount) error {
	return wrap(vmid, "mount "+m.Target, d.attach(ctx, vmid, m))
}

func (d *Driver) attach(ctx context.Context, vmid int, m driver.Mount) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := driver.CheckMount(m); err != nil {
		return driver.Fault(driver.ErrRefused, "name a directory of this node and a plain path", err)
	}
	if err := driver.CheckOwner(d.o.MountDir, vmid, m); err != nil {
		return driver.Faultf(driver.ErrRefused, "", "%s: %s", m.Source, err)
	}
	v, err := d.whole(ctx, vmid)
	if err != nil {
		return err
	}
	if err := errors.Join(d.guard(vmid, v.config), d.adoptRules(vmid)); err != nil {
		return err
	}
	waiting, err := d.pending(ctx, vmid)
	if err != nil {
		return err
	}
	old, there := v.config.MountAt(m.Target)
	switch {
	case there && !old.IsDirectory():
		return driver.Faultf(driver.ErrRefused, "choose another target", "%s is the volume %s", old.Key, old.Source)
	case there && covers(old.Mount, m) && waiting[old.Key]:
		// An earlier Detach of a running guest: revert it.
		if _, err := d.pct(ctx, "set", strconv.Itoa(vmid), "--revert", old.Key); err != nil {
			return err
		}
		return d.attached(ctx, vmid, old.Key, m)
	case there && covers(old.Mount, m):
		return nil
	case there && v.state == driver.Running:
		// PVE would save it, exit 0, and change nothing until the next start.
		return driver.Faultf(driver.ErrPending, "shut the guest down first", "%s is %s in the running guest, want %s", m.Target, describe(old.Mount), describe(m))
	}
	key := old.Key
	if !there {
		if key, err = v.config.FreeMount(waiting); err != nil {
			return driver.Faultf(driver.ErrRefused, "", "%s", err)
		}
	}
	args := []string{"set", strconv.Itoa(vmid), "--" + key, m.String()}
	if v.digest != "" {
		args = append(args, "--digest", v.digest)
	}
	_, setErr := d.pct(ctx, args...)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	// "pct set" can fail after it saved, and can exit with 0 and no effect.
	if err := d.attached(ctx, vmid, key, m); err != nil {
		if setErr != nil {
			return setErr
		}
		return err
	}
	return nil
}

// covers reports whether a mount is as asked for. It may be shared as well, which an
// operator sets so that the guest can migrate.
func covers(got, want driver.Mount) bool {
	return got.Source == want.Source && got.Target == want.Target && got.ReadOnly == want.ReadOnly && (got.Shared || !want.Shared)
}

// attached reads back whether m is at key. It reverts a change that waits for
// the next start.
func (d *Driver) attached(ctx context.Context, vmid int, key string, m driver.Mount) error {
	config, _, err := d.config(ctx, vmid)
	if err != nil {
		return err
	}
	waiting, err := d.pending(ctx, vmid)
	if err != nil {
		return err
	}
	if waiting[key] {
		if _, err := d.pct(ctx, "set", strconv.Itoa(vmid), "--revert", key); err != nil {
			return fmt.Errorf("revert the pending %s: %w", key, err)
		}
		return driver.Faultf(driver.ErrPending, "shut the guest down first", "PVE keeps %s for the next start", key)
	}
	for _, p := range config.Mounts() {
		if p.Key == key && covers(p.Mount, m) {
			return nil
		}
	}
	value, _ := config.Get(key)
	return fmt.Errorf("pct set said nothing, and %s is %q, want %q", key, value, m.String())
}

func describe(m driver.Mount) string {
	if m.ReadOnly {
		return m.Source + " (read-only)"
	}
	return m.Source
}

// Detach implements [driver.Hypervisor]. PVE removes a mount from a running
// guest only at its next stop.
func (d *Driver) Detach(ctx context.Context, vmid int, target string) error {
	return wrap(vmid, "unmount "+target, d.detach(ctx, vmid, target))
}

func (d *Driver) detach(ctx context.Context, vmid int, target string) error {
	v, err := d.whole(ctx, vmid)
	if err != nil {
		return err
	}
	old, there := v.config.MountAt(target)
	switch {
	case !there:
		return nil
	case !old.IsDirectory():
		return driver.Faultf(driver.ErrRefused, "", "%s is the volume %s, not a directory of the host", old.Key, old.Source)
	}
	_, setErr := d.pct(ctx, "set", strconv.Itoa(vmid), "--delete", old.Key, "--digest", v.digest)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	config, _, err := d.config(ctx, vmid)
	if err != nil {
		return err
	}
	if _, still := config.Get(old.Key); !still {
		return nil
	}
	waiting, err := d.pending(ctx, vmid)
	switch {
	case err != nil:
		return err
	case waiting[old.Key]:
		return driver.Faultf(driver.ErrPending, "it ends with the guest's next stop", "PVE takes %s out of a running guest at its stop", old.Key)
	case setErr != nil:
		return setErr
	}
	return fmt.Errorf("pct set said nothing, and %s is still there", old.Key)
}
