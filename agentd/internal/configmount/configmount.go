// Package configmount writes the directory that a guest sees read-only at
// /etc/felhom-bootstrap. Call [New], then [Dir.Put] for each file. What it reads
// back is only for comparing, because a guest's root can remount the bind
// read-write. It never removes the files of others there (controller.yaml.tmpl)
// while the guest is known.
//
// The directory is root:<mapped root> 0750 with an ACL that lets the guest's root
// in and not its group, the file root:<mapped root> 0640: the guest's root reads,
// and after a read-write remount still cannot write, create, unlink or chmod.
// [OwnerGuest] gives the file to the guest's root instead; the directory stays
// the host's.
package configmount

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/passage"
	"github.com/felhom/felhom-golden/internal/regular"
)

// BootstrapFile is the name of the contract's file in the mount.
const BootstrapFile = "bootstrap.json"

// Target is where a guest sees its directory.
const Target = "/etc/felhom-bootstrap"

const (
	parentMode = 0o711 // of the directories above: each mount is closed by itself
	mountMode  = 0o750
)

// Owner is who owns the files in a mount.
type Owner int

// The owners.
const (
	// OwnerHost: root:<mapped root> 0640. The guest's root cannot change the
	// file, whatever it does to its mount.
	OwnerHost Owner = iota
	// OwnerGuest: <mapped root> 0600, for programs in the guest that want root
	// as owner. A guest's root that remounts the directory read-write can change
	// and fill the file.
	OwnerGuest
)

// Dir is the host directory below which each guest has its mount.
type Dir struct {
	path  string
	owner Owner
	seen  *atomic.Bool // a search for what an earlier version left open was made
}

// New returns the mounts below path. path need not exist yet.
func New(path string, owner Owner) Dir { return Dir{path: path, owner: owner, seen: new(atomic.Bool)} }

// Path returns the host directory of guest vmid: the source of its bind mount.
func (d Dir) Path(vmid int) string { return filepath.Join(d.path, strconv.Itoa(vmid)) }

// Put replaces file name in the mount of guest vmid, creating the directory if
// none exists and setting its owner and mode if they are different.
// root is the guest's root, in this host's ids. The guest sees the old file or the new
// one, and no symbolic link is followed.
func (d Dir) Put(vmid int, root driver.IDs, name string, data []byte) (err error) {
	if filepath.Base(name) != name || name == "." || name == ".." {
		return fmt.Errorf("config mount of guest %d: %q is not the name of a file", vmid, name)
	}
	mount, err := d.open(vmid, root)
	if err != nil {
		return fmt.Errorf("config mount of guest %d: %w", vmid, err)
	}
	defer func() { err = errors.Join(err, mount.Close()) }()
	attr := atomicfile.Attr{Mode: 0o640, Chown: true, UID: 0, GID: root.GID}
	if d.owner == OwnerGuest {
		attr = atomicfile.Attr{Mode: 0o600, Chown: true, UID: root.UID, GID: root.GID}
	}
	// The file of a write that was killed holds a token, and the guest sees it.
	if err := atomicfile.Replace(mount, name, data, attr); err != nil {
		return fmt.Errorf("config mount of guest %d: %w", vmid, err)
	}
	return nil
}

// Read returns file name in the mount of guest vmid, at most limit bytes of it,
// or an error that is fs.ErrNotExist. What it returns may come from the guest's
// root: use it only to compare.
func (d Dir) Read(vmid int, name string, limit int64) (data []byte, err error) {
	isThere := false
	err = d.inMount(vmid, func(mount *os.Root) error {
		isThere = true
		info, err := mount.Lstat(name)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return &fs.PathError{Op: "read", Path: name, Err: regular.ErrNotRegular}
		}
		data, err = regular.ReadIn(mount, name, limit)
		return err
	})
	if err == nil && !isThere {
		err = fmt.Errorf("config mount of guest %d: %w", vmid, fs.ErrNotExist)
	}
	return data, err
}

// Sweep removes what killed writes left in the mount of guest vmid. The caller
// must exclude other writers of that mount meanwhile.
func (d Dir) Sweep(vmid int) error {
	return d.inMount(vmid, func(mount *os.Root) error {
		return errors.Join(atomicfile.Sweep(mount, BootstrapFile), atomicfile.Sweep(mount, contract.RegistryHostsFile), atomicfile.Sweep(mount, contract.RegistryCertificateFile))
	})
}

// Guests returns the guests that have a directory here.
func (d Dir) Guests() (vmids []int, err error) {
	parent, err := os.OpenRoot(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		vmids, err = guestsIn(parent)
		err = errors.Join(err, parent.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("config mounts: %w", err)
	}
	return vmids, nil
}

func guestsIn(parent *os.Root) (vmids []int, err error) {
	entries, err := fs.ReadDir(parent.FS(), ".")
	for _, e := range entries {
		if vmid, err := strconv.Atoi(e.Name()); err == nil && strconv.Itoa(vmid) == e.Name() {
			vmids = append(vmids, vmid)
		}
	}
	return vmids, err
}

// Remove removes the mount of guest vmid with all that is in it. It does nothing
// if there is no directory. A guest that still has it mounted sees an empty one
// from then on.
func (d Dir) Remove(vmid int) error {
	return d.inParent(vmid, func(parent *os.Root) error {
		return errors.Join(parent.RemoveAll(strconv.Itoa(vmid)), atomicfile.SyncDirectory(parent, ""))
	})
}

// RemoveFile removes one file of the mount of guest vmid and leaves the others.
// It does nothing if the file does not exist.
func (d Dir) RemoveFile(vmid int, name string) error {
	return d.inMount(vmid, func(mount *os.Root) error {
		return atomicfile.Remove(mount, name)
	})
}

// inMount calls work with the mount of guest vmid. It does nothing if the mount
// does not exist.
func (d Dir) inMount(vmid int, work func(mount *os.Root) error) error {
	return d.inParent(vmid, func(parent *os.Root) error {
		mount, err := openMount(parent, strconv.Itoa(vmid))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(work(mount), mount.Close())
	})
}

// inParent calls work with the directory of all mounts, if it exists. Errors
// name guest vmid.
func (d Dir) inParent(vmid int, work func(parent *os.Root) error) error {
	parent, err := os.OpenRoot(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(work(parent), parent.Close())
	}
	if err != nil {
		return fmt.Errorf("config mount of guest %d: %w", vmid, err)
	}
	return nil
}

// Exists reports whether guest vmid has a directory here.
func (d Dir) Exists(vmid int) bool {
	_, err := os.Lstat(d.Path(vmid))
	return err == nil
}

func (d Dir) open(vmid int, ids driver.IDs) (_ *os.Root, err error) {
	if err := makeParents(d.path); err != nil {
		return nil, err
	}
	parent, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, parent.Close()) }()
	name := strconv.Itoa(vmid)
	switch err := parent.Mkdir(name, 0o700); {
	case errors.Is(err, fs.ErrExist):
	case err != nil:
		return nil, err
	default:
		// Else a loss of power could take the mount with the token of a guest that was said to be there.
		if err := atomicfile.SyncDirectory(parent, ""); err != nil {
			return nil, err
		}
	}
	mount, err := openMount(parent, name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(closeMount(mount, ids), d.openParent(parent, ids)); err != nil {
		return nil, errors.Join(err, mount.Close())
	}
	return mount, nil
}

// closeMount makes the mount the host's, and lets only the guest's root read it:
// as a user, since guests that share an id range share a group, and a setgid
// program of one guest gives any local user that group. On a file system without
// ACLs it is that group.
func closeMount(mount *os.Root, ids driver.IDs) (err error) {
	// Owner first: from here on the guest can not change what the mount holds.
	if err := mount.Chown(".", 0, ids.GID); err != nil {
		return err
	}
	if ids.UID != 0 {
		err := withDir(mount, ".", func(fd int) error { return passage.Only(fd, ids.UID, passage.Read) })
		if err == nil || !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	return mount.Chmod(".", mountMode)
}

// openParent lets all users walk through the directory of the mounts, which are
// closed by themselves. Earlier versions closed that directory instead, with an
// ACL that all guests shared: it stays closed until each mount is closed, which
// is done here for those whose guest's root is known.
func (d Dir) openParent(parent *os.Root, ids driver.IDs) error {
	return withDir(parent, ".", func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return os.NewSyscallError("fstat", err)
		}
		open := st.Mode&0o001 != 0
		if open && d.seen.Swap(true) {
			return nil
		}
		users, err := passage.Users(fd)
		if err != nil {
			return err
		}
		if ids.UID == ids.GID {
			users = append(users, ids.UID)
		}
		closed, err := closeMounts(parent, users)
		if err != nil {
			return err
		}
		switch {
		case open:
			return nil
		case !closed:
			return passage.Open(fd, ids.UID)
		}
		return passage.Clear(fd, st.Mode&0o7707|0o011)
	})
}

// closeMounts closes the mounts whose group has the number of one of users, and
// reports whether all mounts are closed now.
func closeMounts(parent *os.Root, users []int) (all bool, err error) {
	vmids, err := guestsIn(parent)
	if err != nil {
		return false, err
	}
	all = true
	for _, vmid := range vmids {
		closed := false
		err := withDir(parent, strconv.Itoa(vmid), func(fd int) error {
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				return os.NewSyscallError("fstat", err)
			}
			own, err := passage.Users(fd)
			if closed = len(own) > 0 || st.Mode&0o077 == 0; closed || err != nil {
				return err
			}
			if closed = slices.Contains(users, int(st.Gid)); !closed {
				return nil
			}
			if err := passage.Only(fd, int(st.Gid), passage.Read); !errors.Is(err, errors.ErrUnsupported) {
				return err
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		all = all && (closed || err != nil)
	}
	return all, nil
}

// withDir calls work with an open directory below root.
func withDir(root *os.Root, name string, work func(fd int) error) error {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(work(int(f.Fd())), f.Close())
}

// makeParents makes path and the missing directories above it with parentMode,
// regardless of the umask: a guest's root must be able to pass through them.
func makeParents(path string) error {
	err := os.Mkdir(path, parentMode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil // its mode is its owner's choice
	case errors.Is(err, fs.ErrNotExist):
		if err := makeParents(filepath.Dir(path)); err != nil {
			return err
		}
		return makeParents(path)
	case err != nil:
		return err
	}
	return errors.Join(os.Chmod(path, parentMode), atomicfile.SyncPath(filepath.Dir(path)))
}

// openMount opens the directory that Lstat saw, and refuses one that has
// replaced it.
func openMount(parent *os.Root, name string) (*os.Root, error) {
	seen, err := parent.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !seen.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%v, want a directory", seen.Mode().Type())}
	}
	mount, err := parent.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	got, err := mount.Stat(".")
	if err != nil {
		return nil, errors.Join(err, mount.Close())
	}
	if !os.SameFile(seen, got) {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: name, Err: errors.New("it was replaced while being opened")}, mount.Close())
	}
	return mount, nil
}
