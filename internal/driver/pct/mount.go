package pct

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// maxSlot is the last mpN that PVE knows.
const maxSlot = 255

// slot is one mpN.
type slot struct {
	key   string
	mount driver.Mount
	bind  bool // a folder of the host, not a volume or a device
}

// slots returns the mount points in the order of their numbers.
func slots(config *pctconf.Config) []slot {
	var list []slot
	for n := range maxSlot + 1 {
		key := "mp" + strconv.Itoa(n)
		value, ok := config.Get(key)
		if !ok {
			continue
		}
		props, err := pctconf.ParseProperties(value, "volume")
		if err != nil {
			props = pctconf.Properties{} // PVE keeps a wrong line; it is taken and mounts nothing
		}
		on := func(name string) bool { v, _ := pctconf.ParseBool(props[name]); return v }
		list = append(list, slot{
			key:   key,
			mount: driver.Mount{Source: props["volume"], Target: props["mp"], ReadOnly: on("ro"), Shared: on("shared")},
			// PVE's own test: /dev/… is a device, any other absolute path a folder.
			bind: strings.HasPrefix(props["volume"], "/") && !strings.HasPrefix(props["volume"], "/dev/"),
		})
	}
	return list
}

func at(list []slot, target string) (slot, bool) {
	i := slices.IndexFunc(list, func(s slot) bool { return s.mount.Target == target })
	if i < 0 {
		return slot{}, false
	}
	return list[i], true
}

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

// Attach implements [driver.Hypervisor]. The mount is not replicated, which
// would end every replication job of the guest.
func (d *Driver) Attach(ctx context.Context, vmid int, m driver.Mount) error {
	return wrap(vmid, "mount "+m.Target, d.attach(ctx, vmid, m))
}

func (d *Driver) attach(ctx context.Context, vmid int, m driver.Mount) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := checkMount(m); err != nil {
		return refuse(driver.ErrRefused, "name a real folder and a plain path", "%s", err)
	}
	v, err := d.whole(ctx, vmid)
	if err != nil {
		return err
	}
	if err := d.guard(v.config); err != nil {
		return err
	}
	waiting, err := d.pending(ctx, vmid)
	if err != nil {
		return err
	}
	list := slots(v.config)
	old, there := at(list, m.Target)
	switch {
	case there && !old.bind:
		return refuse(driver.ErrRefused, "choose another target", "%s is the volume %s", old.key, old.mount.Source)
	case there && covers(old.mount, m) && waiting[old.key]:
		// An earlier Detach of a running guest: take it back.
		if _, err := d.pct(ctx, "set", strconv.Itoa(vmid), "--revert", old.key); err != nil {
			return err
		}
		return d.attached(ctx, vmid, old.key, m)
	case there && covers(old.mount, m):
		return nil
	case there && v.state == driver.Running:
		// PVE would save it, exit 0, and change nothing until the next start.
		return refuse(driver.ErrPending, "shut the guest down first", "%s is %s in the running guest, wanted %s", m.Target, describe(old.mount), describe(m))
	}
	key := old.key
	if !there {
		if key, err = freeSlot(list, waiting); err != nil {
			return err
		}
	}
	args := []string{"set", strconv.Itoa(vmid), "--" + key, mountValue(m)}
	if v.digest != "" {
		args = append(args, "--digest", v.digest)
	}
	_, setErr := d.pct(ctx, args...)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	// set can fail after it saved, and can exit 0 without an effect.
	if err := d.attached(ctx, vmid, key, m); err != nil {
		if setErr != nil {
			return setErr
		}
		return err
	}
	return nil
}

// covers says whether a mount is what is wanted. One that the operator called
// shared by hand, so that the guest can migrate, is.
func covers(found, wanted driver.Mount) bool {
	return found.Source == wanted.Source && found.Target == wanted.Target && found.ReadOnly == wanted.ReadOnly && (found.Shared || !wanted.Shared)
}

// attached reads back whether m is at key. What waits there for the next start
// is taken back.
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
			return fmt.Errorf("take back the pending %s: %w", key, err)
		}
		return refuse(driver.ErrPending, "shut the guest down first", "PVE keeps %s for the next start", key)
	}
	for _, s := range slots(config) {
		if s.key == key && covers(s.mount, m) {
			return nil
		}
	}
	value, _ := config.Get(key)
	return fmt.Errorf("pct set said nothing, and %s is %q, wanted %q", key, value, mountValue(m))
}

func describe(m driver.Mount) string {
	if m.ReadOnly {
		return m.Source + " (read-only)"
	}
	return m.Source
}

func freeSlot(list []slot, waiting map[string]bool) (string, error) {
	for n := range maxSlot + 1 {
		key := "mp" + strconv.Itoa(n)
		if !waiting[key] && !slices.ContainsFunc(list, func(s slot) bool { return s.key == key }) {
			return key, nil
		}
	}
	return "", refuse(driver.ErrRefused, "", "all %d mount points are taken", maxSlot+1)
}

func mountValue(m driver.Mount) string {
	value := m.Source + ",mp=" + m.Target
	if m.ReadOnly {
		value += ",ro=1"
	}
	value += ",replicate=0"
	if m.Shared {
		value += ",shared=1"
	}
	return value
}

// checkMount refuses what PVE would take and then fail on at the next start:
// it does not look at the source until then.
func checkMount(m driver.Mount) error {
	for _, path := range []string{m.Source, m.Target} {
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" || strings.ContainsAny(path, ",\n\r\x00") {
			return fmt.Errorf("%q is no plain absolute path", path)
		}
	}
	if strings.HasPrefix(m.Source, "/dev/") {
		return fmt.Errorf("%s would be taken for a device", m.Source)
	}
	return checkSource(m.Source)
}

// checkSource walks a path as PVE does at a start: each part a real folder.
func checkSource(path string) error {
	part := "/"
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		part = filepath.Join(part, name)
		info, err := os.Lstat(part)
		switch {
		case err != nil:
			return err
		case info.Mode()&os.ModeSymlink != 0:
			return fmt.Errorf("%s is a symbolic link, which PVE does not follow for mount %s", part, path)
		case !info.IsDir():
			return fmt.Errorf("%s is no folder", part)
		}
	}
	return nil
}

// Detach implements [driver.Hypervisor]. PVE takes a mount out of a running
// guest at its next stop only.
func (d *Driver) Detach(ctx context.Context, vmid int, target string) error {
	return wrap(vmid, "unmount "+target, d.detach(ctx, vmid, target))
}

func (d *Driver) detach(ctx context.Context, vmid int, target string) error {
	v, err := d.whole(ctx, vmid)
	if err != nil {
		return err
	}
	old, there := at(slots(v.config), target)
	switch {
	case !there:
		return nil
	case !old.bind:
		return refuse(driver.ErrRefused, "", "%s is the volume %s, not a folder of the host", old.key, old.mount.Source)
	}
	_, setErr := d.pct(ctx, "set", strconv.Itoa(vmid), "--delete", old.key, "--digest", v.digest)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	config, _, err := d.config(ctx, vmid)
	if err != nil {
		return err
	}
	if _, still := config.Get(old.key); !still {
		return nil
	}
	waiting, err := d.pending(ctx, vmid)
	switch {
	case err != nil:
		return err
	case waiting[old.key]:
		return refuse(driver.ErrPending, "it ends with the guest's next stop", "PVE takes %s out of a running guest at its stop", old.key)
	case setErr != nil:
		return setErr
	}
	return fmt.Errorf("pct set said nothing, and %s is still there", old.key)
}
