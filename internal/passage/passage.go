// Package passage sets which users of this host may walk through a directory:
// [Only] lets one user through and root, [Open] adds a user.
//
// A guest's root is another user of the host, and it must reach its root file
// system and its config mount by their paths when the guest starts. Mode bits
// can allow that only to all users or to a group, and a setgid program of one
// guest gives any local user that group; so the directory's POSIX ACL gets an
// entry for one user. Each guest has a directory of its own with one entry: a
// list shared by all guests would be full after some hundred of them (ext4
// stores at most one block).
package passage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

const attribute = "system.posix_acl_access"

// The tags and the rights of an entry, as in linux/posix_acl.h.
const (
	tagUserObj  = 0x01
	tagUser     = 0x02
	tagGroupObj = 0x04
	tagGroup    = 0x08
	tagMask     = 0x10
	tagOther    = 0x20

	all = 7

	version   = 2
	undefined = 0xffffffff
)

type entry struct {
	tag, rights uint16
	id          uint32
}

// Rights are what a user may do with a directory.
type Rights uint16

// The rights.
const (
	Walk Rights = 1 // reach what is below by its name
	Read Rights = 5 // walk, and list the names
)

// Only lets user uid and root use the directory fd, and no other user and no
// group, in place of all that was allowed before. The change is atomic. The
// error is errors.ErrUnsupported if the file system has no ACLs.
func Only(fd, uid int, rights Rights) error {
	return write(fd, uid, []entry{
		{tagUserObj, all, undefined},
		{tagUser, uint16(rights), uint32(uid)},
		{tagGroupObj, 0, undefined},
		{tagMask, uint16(rights), undefined},
		{tagOther, 0, undefined},
	})
}

// Users returns the users that have their own entry for the directory fd.
func Users(fd int) ([]int, error) {
	entries, err := read(fd)
	var users []int
	for _, e := range entries {
		if e.tag == tagUser {
			users = append(users, int(e.id))
		}
	}
	return users, err
}

// Clear removes the ACL of the directory fd, if it has one, and sets its mode.
func Clear(fd int, mode uint32) error {
	if err := unix.Fremovexattr(fd, attribute); err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
		return &fs.PathError{Op: "remove ACL", Path: "directory", Err: err}
	}
	if err := unix.Fchmod(fd, mode); err != nil {
		return &fs.PathError{Op: "chmod", Path: "directory", Err: err}
	}
	return nil
}

// Open lets user uid walk through the directory fd, as well as those that may
// already. Several processes may call it for one directory at once: each holds
// the directory's lock meanwhile, which a user who may only walk through it
// cannot take.
func Open(fd, uid int) (err error) {
	if err := lock(fd); err != nil {
		return fmt.Errorf("let user %d through: lock directory: %w", uid, err)
	}
	defer func() { err = errors.Join(err, unix.Flock(fd, unix.LOCK_UN)) }()
	entries, err := read(fd)
	if err != nil {
		return err
	}
	if entries == nil {
		entries = []entry{{tagUserObj, all, undefined}, {tagGroupObj, 0, undefined}, {tagOther, 0, undefined}}
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e.tag == tagMask || e.tag == tagUser && int64(e.id) == int64(uid) })
	entries = append(entries, entry{tagUser, uint16(Walk), uint32(uid)}, entry{tagMask, uint16(Walk), undefined})
	slices.SortFunc(entries, func(a, b entry) int {
		if a.tag != b.tag {
			return int(a.tag) - int(b.tag)
		}
		return int(int64(a.id) - int64(b.id))
	})
	return write(fd, uid, entries)
}

// write sets the ACL that lets user uid through. The entries are in order.
func write(fd, uid int, entries []entry) error {
	if err := unix.Fsetxattr(fd, attribute, encode(entries), 0); err != nil {
		return fmt.Errorf("let user %d through: set ACL: %w (the file system must have POSIX ACLs; on ZFS: zfs set acltype=posixacl)", uid, err)
	}
	return nil
}

func lock(fd int) error {
	for {
		if err := unix.Flock(fd, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Lets reports whether user uid, with a primary group of the same number, may
// walk through the directory path.
func Lets(path string, uid int) (bool, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	entries, aclErr := read(fd)
	if err := errors.Join(err, aclErr, unix.Close(fd)); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	mask := uint16(all)
	for _, e := range entries {
		if e.tag == tagMask {
			mask = e.rights
		}
	}
	if int64(st.Uid) == int64(uid) {
		return st.Mode&0o100 != 0, nil
	}
	for _, e := range entries {
		if e.tag == tagUser && int64(e.id) == int64(uid) {
			return e.rights&mask&uint16(Walk) != 0, nil
		}
	}
	if int64(st.Gid) == int64(uid) {
		return st.Mode&0o010 != 0, nil
	}
	for _, e := range entries {
		if e.tag == tagGroup && int64(e.id) == int64(uid) {
			return e.rights&mask&uint16(Walk) != 0, nil
		}
	}
	return st.Mode&0o001 != 0, nil
}

// read returns the entries of the ACL, nil if the directory has none.
func read(fd int) ([]entry, error) {
	const limit = 64 << 10
	data := make([]byte, limit)
	n, err := unix.Fgetxattr(fd, attribute, data)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read ACL: %w", err)
	}
	return parse(data[:n])
}

// encode returns the kernel's form of an ACL.
func encode(entries []entry) []byte {
	data := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range entries {
		data = binary.LittleEndian.AppendUint16(data, e.tag)
		data = binary.LittleEndian.AppendUint16(data, e.rights)
		data = binary.LittleEndian.AppendUint32(data, e.id)
	}
	return data
}

// parse reads the kernel's form of an ACL.
func parse(data []byte) ([]entry, error) {
	const head, each = 4, 8
	if len(data) < head || (len(data)-head)%each != 0 || binary.LittleEndian.Uint32(data) != version {
		return nil, errors.New("read ACL: unknown format")
	}
	var entries []entry
	for b := data[head:]; len(b) > 0; b = b[each:] {
		entries = append(entries, entry{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])})
	}
	return entries, nil
}
