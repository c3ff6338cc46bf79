package unpack

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// maxDirBytes bounds the memory for directories until the end: enough for
// 100,000 with ordinary names.
const maxDirBytes = 24 << 20

// dirBytes is the memory of one without its name and lists.
const dirBytes = 160

// dirEntry is what is kept of a directory until all below it is written.
type dirEntry struct {
	path            string
	mode            uint32
	uid, gid        int
	modTime         time.Time
	acl, defaultACL vzdump.ACL
}

func (d *dirEntry) entry() vzdump.Entry {
	return vzdump.Entry{
		Path: d.path, Type: vzdump.Dir, Mode: d.mode, UID: d.uid, GID: d.gid, ModTime: d.modTime, ACL: d.acl, DefaultACL: d.defaultACL,
	}
}

// keepDir sets the attributes of a new directory that can be set early. It
// keeps the others for the end: owner and mode, which may forbid writing,
// lists, which new entries would inherit, and the time.
func (u *unpacker) keepDir(e *vzdump.Entry) error {
	const aclEntryBytes = 40                                           // with an empty name
	acl, defaultACL := slices.Clone(e.ACL), slices.Clone(e.DefaultACL) // at their smallest
	u.kept += dirBytes + len(e.Path)
	for _, a := range slices.Concat(acl, defaultACL) {
		u.kept += aclEntryBytes + len(a.Name)
	}
	if u.kept > maxDirBytes {
		return fault.Wrap(fault.Invalid, fmt.Errorf("%w: directories so far exceed the limit of %d MiB of names and lists", vzdump.ErrLimit, maxDirBytes>>20))
	}
	u.dirs = append(u.dirs, dirEntry{path: e.Path, mode: e.Mode, uid: e.UID, gid: e.GID, modTime: e.ModTime, acl: acl, defaultACL: defaultACL})
	if len(e.Xattrs) == 0 {
		return nil
	}
	d, err := u.root.Open(e.Path)
	if err != nil {
		return err
	}
	return errors.Join(u.setXattrs(d, e), d.Close())
}

func (u *unpacker) setXattrs(f *os.File, e *vzdump.Entry) error {
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		value := e.Xattrs[name]
		if !vzdump.IsRestoredXattr(name) {
			continue
		}
		data := []byte(value)
		if name == vzdump.CapabilityXattr {
			var err error
			if data, err = u.ids.capability(value); err != nil {
				return fault.Wrap(fault.Invalid, err)
			}
		}
		if err := setXattr(f, name, data); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacker) setACLs(f *os.File, e *vzdump.Entry) error {
	toUser := func(id int) int { return mapID(u.ids.UIDs, id) }
	toGroup := func(id int) int { return mapID(u.ids.GIDs, id) }
	for _, list := range []struct {
		name string
		acl  vzdump.ACL
	}{{"system.posix_acl_access", e.ACL}, {"system.posix_acl_default", e.DefaultACL}} {
		if list.acl == nil {
			continue
		}
		acl, err := list.acl.Resolve(lookupUser, lookupGroup)
		if err != nil {
			return fault.WrapHint(fault.Invalid, err, "the archive names an owner that this machine does not have; tar leaves the list out without a word")
		}
		if err := setXattr(f, list.name, acl.Xattr(toUser, toGroup)); err != nil {
			return err
		}
	}
	return nil
}

// lookupUser returns the id of a name on this machine. tar uses it for names in
// access control lists, whatever ids they have in the guest.
func lookupUser(name string) (int, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(u.Uid)
}

func lookupGroup(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// setXattr sets one attribute. Its error separates an attribute that the file system
// cannot hold from a full disk: the kernel gives ENOSPC for both.
func setXattr(f *os.File, name string, data []byte) error {
	err := unix.Fsetxattr(int(f.Fd()), name, data, 0)
	if errors.Is(err, unix.EBADF) { // f is open as a path alone, which fsetxattr refuses
		err = unix.Setxattr(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), name, data, 0)
	}
	var fs unix.Statfs_t
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC) && (unix.Fstatfs(int(f.Fd()), &fs) != nil || fs.Bavail < 64):
		return fmt.Errorf("attribute %s: %w", name, err) // it is full
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ERANGE), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTSUP):
		// Only the text: the error is not about the disk.
		return fault.WrapHint(fault.Invalid, fmt.Errorf("attribute %s of %d bytes: the file system does not take it (%s)", name, len(data), err.Error()),
			"remove or shorten the attribute in the image; tar leaves such attributes out without a word")
	}
	return fmt.Errorf("attribute %s: %w", name, err)
}
