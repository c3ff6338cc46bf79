package lxc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/mountinfo"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// Attach implements [driver.Hypervisor].
func (d *Driver) Attach(ctx context.Context, vmid int, m driver.Mount) (err error) {
	err = driver.CheckMount(m)
	if err == nil {
		if err = driver.CheckOwner(d.o.MountDir, vmid, m); err != nil {
			err = fmt.Errorf("%w: %s: %w", driver.ErrRefused, m.Source, err)
		}
	}
	if err != nil {
		return driver.Fault(driver.ErrRefused, "name a directory of this host that is the guest's own, and a plain path", fmt.Errorf("mount into guest %d: %w", vmid, err))
	}
	return d.change(ctx, vmid, func(g driver.Guest, pid int, conf *pctconf.Config) error {
		if err := d.checkOwner(vmid, conf); err != nil {
			return err
		}
		// This host's root makes a mount into a running guest, but at the next
		// start the guest's root must reach the directory.
		if err := reachable(filepath.Dir(m.Source), g.Root.UID); err != nil {
			return fmt.Errorf("%w: %w", driver.ErrRefused, err)
		}
		before, there := conf.MountAt(m.Target)
		key := before.Key
		switch {
		case there && pid != 0 && before.Mount != m:
			return driver.Fault(driver.ErrPending, "stop the guest first, or detach that mount", fmt.Errorf("%s is mounted at %s now: %w", before.Source, m.Target, driver.ErrPending))
		case !there:
			if key, err = conf.FreeMount(nil); err != nil {
				return driver.Faultf(driver.ErrRefused, "detach a mount that is not needed", "%w", err)
			}
		}
		if pid != 0 {
			if err := d.plug(ctx, vmid, pid, m, g.Root); err != nil {
				return err
			}
		}
		c := &settings{Config: conf}
		c.set(key, m.String())
		return c.err
	})
}

// checkOwner refuses a guest whose configuration, which may have been edited,
// mounts a directory of this host that is not its own.
func (d *Driver) checkOwner(vmid int, conf *pctconf.Config) error {
	for _, p := range conf.Mounts() {
		if p.Err == nil && !filepath.IsAbs(p.Source) {
			continue // a volume, which this driver does not have
		}
		if err := driver.CheckOwner(d.o.MountDir, vmid, p.Mount); err != nil {
			return driver.Faultf(driver.ErrRefused, "remove that line from "+filepath.Join(d.dir(vmid), confFile)+"; see docs/security.md", "%s mounts %s: %w", p.Key, p.Source, err)
		}
	}
	return nil
}

// Detach implements [driver.Hypervisor]. A mount that must wait for the guest's
// stop is not mounted at the next start.
func (d *Driver) Detach(ctx context.Context, vmid int, target string) error {
	var pending error
	err := d.change(ctx, vmid, func(_ driver.Guest, pid int, conf *pctconf.Config) error {
		for p, ok := conf.MountAt(target); ok; p, ok = conf.MountAt(target) {
			var err error
			if pid != 0 && p.IsDirectory() {
				err = d.unplug(ctx, vmid, pid, p.Mount)
			}
			switch {
			case errors.Is(err, driver.ErrPending):
				pending = fmt.Errorf("guest %d: %w", vmid, err)
			case err != nil:
				return err
			}
			conf.Delete(p.Key)
		}
		return nil
	})
	return errors.Join(err, pending)
}

// change runs work on the guest's configuration and writes the result.
func (d *Driver) change(ctx context.Context, vmid int, work func(g driver.Guest, pid int, conf *pctconf.Config) error) (err error) {
	release, err := d.claim(vmid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	g, err := d.Guest(ctx, vmid)
	if err != nil {
		return err
	}
	if g.Partial {
		return driver.Fault(driver.ErrPartial, "", fmt.Errorf("guest %d: %w", vmid, driver.ErrPartial))
	}
	conf, err := d.readConf(vmid)
	if err != nil {
		return err
	}
	state, pid, err := d.info(ctx, vmid)
	if err != nil {
		return err
	}
	if state != stateRunning && state != stateStopped {
		return changing(vmid, "it is "+state)
	}
	before := slices.Clone(conf.Settings)
	if err := work(g, pid, conf); err != nil {
		return fmt.Errorf("guest %d: %w", vmid, err)
	}
	if slices.Equal(before, conf.Settings) {
		return nil
	}
	return atomicfile.In(d.dir(vmid), func(root *os.Root) error {
		if err := atomicfile.Replace(root, confFile, conf.Format(), atomicfile.Attr{Mode: 0o644}); err != nil {
			return err
		}
		return d.writeLXC(root, vmid, conf)
	})
}

// plug mounts m into the running guest, as PVE does: a clone of the directory's
// tree is made and set read-only here, and moved into the guest's namespace.
// What is mounted there is left alone.
func (d *Driver) plug(ctx context.Context, vmid, pid int, m driver.Mount, owner driver.IDs) (err error) {
	source, err := openDirectory(m.Source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	fd, err := unix.OpenTree(int(source.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return &fs.PathError{Op: "open_tree", Path: m.Source, Err: err}
	}
	tree := os.NewFile(uintptr(fd), m.Source)
	defer func() { err = errors.Join(err, tree.Close()) }()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if m.ReadOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return &fs.PathError{Op: "mount_setattr", Path: m.Source, Err: err}
	}
	return d.inGuest(ctx, vmid, pid, func() error {
		target, err := openTarget(m.Target, owner)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, target.Close()) }()
		same, err := isSameDirectory(source, target)
		if err != nil || same {
			return err
		}
		if err := unix.MoveMount(fd, "", int(target.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
			return &fs.PathError{Op: "move_mount", Path: m.Target, Err: err}
		}
		return nil
	})
}

// unplug ends the mount of m in the running guest, also one that is in use or
// whose directory is gone. ErrPending where the guest has mounted something over it.
func (d *Driver) unplug(ctx context.Context, vmid, pid int, m driver.Mount) (err error) {
	source, err := placeOf(m.Source)
	if err != nil {
		return err
	}
	table, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "mountinfo"))
	if errors.Is(err, fs.ErrNotExist) {
		return changing(vmid, "its init has ended")
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, table.Close()) }()
	return d.inGuest(ctx, vmid, pid, func() error {
		entries, err := readMountinfo(table)
		if err != nil {
			return err
		}
		parent, err := openGuestDirectory(filepath.Dir(m.Target))
		if errors.Is(err, fs.ErrNotExist) {
			return notHidden(entries, source, m.Target)
		}
		if err != nil {
			return err
		}
		return errors.Join(unmountIn(parent, entries, source, m.Target), parent.Close())
	})
}

// unmountIn ends the mount of source at target, a name in parent. It leaves the
// thread's working directory in parent.
func unmountIn(parent *os.File, entries []mountinfo.Mount, source place, target string) error {
	base := filepath.Base(target)
	f, err := openNoLinks(int(parent.Fd()), base, target+" in the guest")
	if errors.Is(err, fs.ErrNotExist) {
		return notHidden(entries, source, target)
	}
	if err != nil {
		return err
	}
	id, isRoot, err := mountOf(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if !isRoot {
		return notHidden(entries, source, target)
	}
	if !slices.ContainsFunc(entries, func(m mountinfo.Mount) bool { return m.ID == id && rootOf(m) == source }) {
		return hidden(target)
	}
	// This changes only the directory of this thread: the path is not looked up
	// again, so that nothing can be put in its place.
	if err := unix.Fchdir(int(parent.Fd())); err != nil {
		return os.NewSyscallError("fchdir", err)
	}
	if err := unix.Unmount(base, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil {
		return &fs.PathError{Op: "umount", Path: target, Err: err}
	}
	return nil
}

// notHidden returns nil if source is not mounted at target any more; a mount
// there that no path leads to is below another one.
func notHidden(entries []mountinfo.Mount, source place, target string) error {
	if slices.ContainsFunc(entries, func(m mountinfo.Mount) bool { return m.Point == target && rootOf(m) == source }) {
		return hidden(target)
	}
	return nil
}

func hidden(target string) error {
	return driver.Faultf(driver.ErrPending, "it ends with the guest's next stop", "something else is mounted over %s in the running guest", target)
}

func isSameDirectory(a, b *os.File) (bool, error) {
	ai, err := a.Stat()
	if err != nil {
		return false, err
	}
	bi, err := b.Stat()
	return err == nil && os.SameFile(ai, bi), err
}

// openDirectory opens a directory of this host that no symbolic link leads to.
func openDirectory(path string) (*os.File, error) {
	return openNoLinks(unix.AT_FDCWD, path, path)
}

// openGuestDirectory opens a directory of the guest whose namespace the thread is
// in. The guest's root may have put links anywhere.
func openGuestDirectory(path string) (*os.File, error) {
	return openNoLinks(unix.AT_FDCWD, path, path+" in the guest")
}

func openNoLinks(at int, path, name string) (*os.File, error) {
	return openResolved(at, path, name, unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
}

func openResolved(at int, path, name string, resolve uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolve}
	fd, err := unix.Openat2(at, path, &how)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, fmt.Errorf("open %s: a part of the path is a symbolic link", name)
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openTarget opens the mount point in the guest and makes its missing parts, as
// the guest's root would.
func openTarget(path string, owner driver.IDs) (*os.File, error) {
	f, err := openGuestDirectory(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	parent, err := openTarget(filepath.Dir(path), owner)
	if err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	switch err = unix.Mkdirat(int(parent.Fd()), base, 0o755); {
	case err == nil:
		err = giveDirectory(parent, base, owner)
	case errors.Is(err, unix.EEXIST):
		err = nil
	}
	if err := errors.Join(err, parent.Close()); err != nil {
		return nil, fmt.Errorf("make %s in the guest: %w", path, err)
	}
	return openGuestDirectory(path)
}

// giveDirectory makes owner the owner of the directory that was just made in parent.
// The guest's root may have mounted one of this host's directories on it since:
// another mount's directory is not touched.
func giveDirectory(parent *os.File, base string, owner driver.IDs) (err error) {
	f, err := openResolved(int(parent.Fd()), base, base, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_XDEV)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return os.NewSyscallError("fchownat", unix.Fchownat(int(f.Fd()), "", owner.UID, owner.GID, unix.AT_EMPTY_PATH))
}
