// Package unpack restores an archive into a directory as Proxmox VE does. Call
// [CheckSpace] if the archive can be read twice, then [Unpack]. As PVE does, it
// leaves out some members, keeps the first of two equal names, maps owners by an
// id map, and removes the configuration from the tree at the end.
//
// It works below an [os.Root], so that no member reaches outside of the directory,
// and it reads through internal/vzdump, which refuses hostile archives. It does
// not check an archive's content, as verify does, and runs no program.
package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// Options configure [Unpack].
type Options struct {
	IDMap  IDMap         // the zero value keeps ids as they are
	Limits vzdump.Limits // the zero value is the defaults
}

// Result describes what was written.
type Result struct {
	Config   []byte // pct.conf; it is not in the directory any more
	Firewall []byte // pct.fw when it was not empty; likewise
	Entries  int    // members written
	Bytes    int64  // of file content
	Skipped  int    // members below ./dev, and names that already existed
	Facts    vzdump.Facts
}

// Unpack writes the archive from r below dir, which must exist. A file that
// already exists stays, as in PVE's restore. After an error the directory holds
// what was written so far; nothing outside of it was changed. The caller
// removes it.
func Unpack(ctx context.Context, r io.Reader, dir string, opts Options) (_ Result, err error) {
	if err := opts.IDMap.Check(); err != nil {
		return Result{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Result{}, fault.WrapHint(fault.Misuse, fmt.Errorf("unpack: %w", err), "name an existing directory")
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	d, err := root.Open(".")
	if err != nil {
		return Result{}, fmt.Errorf("unpack: %w", err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	ar, err := vzdump.NewAheadReader(vzdump.WithContext(ctx, r), opts.Limits)
	if err != nil {
		return Result{}, fmt.Errorf("unpack: %w", err)
	}
	defer ar.Close()
	u := &unpacker{root: root, dirFD: int(d.Fd()), parent: filepath.Dir(dir), ar: ar, ids: opts.IDMap, at: dirs{[]openDir{{".", root}}}}
	defer func() { err = errors.Join(err, u.at.close()) }()
	if err := u.run(); err != nil {
		if fault.HintOf(err) == "" && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
			err = fault.WrapHint(fault.Of(err), err, "free space below "+u.parent)
		}
		return u.result, fmt.Errorf("unpack: %w", err)
	}
	return u.result, nil
}

type unpacker struct {
	root   *os.Root
	at     dirs
	dirFD  int    // of the root
	parent string // of the root; the root itself is removed after an error
	ar     *vzdump.Reader
	ids    IDMap
	result Result
	dirs   []dirEntry // whose times and modes come last
	kept   int        // bytes of them
	buf    []byte
}

func (u *unpacker) run() error {
	for {
		e, err := u.ar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := u.member(e); err != nil {
			return fmt.Errorf("member %q: %w", e.RawName, err)
		}
	}
	u.result.Facts = u.ar.Facts()
	// The deepest come first: a directory may forbid writing, and its time
	// changes with each name in it.
	slices.Reverse(u.dirs)
	for i := range u.dirs {
		e := u.dirs[i].entry()
		if err := u.attributes(&e); err != nil {
			return fmt.Errorf("member %q: %w", "./"+e.Path+"/", err)
		}
	}
	return u.takeConfig()
}

// member writes one member.
func (u *unpacker) member(e *vzdump.Entry) error {
	switch {
	case e.Odd.Has(vzdump.UnderDev): // PVE's --exclude ./dev/*
		u.result.Skipped++
		return nil
	case e.UID > vzdump.MaxID || e.GID > vzdump.MaxID:
		return fault.Errorf(fault.Invalid, "it belongs to %d:%d: want ids up to %d; restore fails on it", e.UID, e.GID, vzdump.MaxID)
	case e.Type == vzdump.Block, e.Type == vzdump.Other, e.Type == vzdump.Char && (e.DevMajor != 0 || e.DevMinor != 0):
		return fault.Errorf(fault.Invalid, "a %s: restore into an unprivileged guest fails on it", e.Type)
	case e.Odd.Has(vzdump.BadLink):
		return fault.Errorf(fault.Invalid, "a hard link to %q, which is no earlier file", e.Link)
	}
	dir, err := u.parents(e.Path)
	if err != nil {
		return err
	}
	there, err := dir.Lstat(path.Base(e.Path))
	switch {
	case err == nil && e.Type == vzdump.Dir && there.IsDir():
		// tar --skip-old-files leaves a directory that it did not make itself.
		if e.Path != "." {
			u.result.Skipped++
		}
		return nil
	case err == nil:
		u.result.Skipped++
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := u.room(e); err != nil {
		return err
	}
	if err := u.create(dir, e); err != nil {
		return err
	}
	u.result.Entries++
	return nil
}

// create writes e in its directory.
func (u *unpacker) create(dir *os.Root, e *vzdump.Entry) error {
	name := path.Base(e.Path)
	switch e.Type {
	case vzdump.Dir:
		if err := dir.Mkdir(name, 0o700); err != nil {
			return err
		}
		return u.keepDir(e)
	case vzdump.Symlink:
		if err := dir.Symlink(e.Link, name); err != nil {
			return err
		}
		return u.attributes(e)
	case vzdump.Link:
		return u.root.Link(e.Link, e.Path)
	case vzdump.Fifo, vzdump.Char: // only an overlay whiteout, the device 0:0, is left here
		if err := u.node(dir, e); err != nil {
			return err
		}
		return u.attributes(e)
	}
	return u.file(dir, e)
}

func (u *unpacker) file(dir *os.Root, e *vzdump.Entry) (err error) {
	f, err := dir.OpenFile(path.Base(e.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if u.buf == nil {
		u.buf = make([]byte, 256<<10)
	}
	n, err := u.ar.CopyTo(f, u.buf)
	u.result.Bytes += n
	if err != nil {
		return err
	}
	return u.byDescriptor(f, e)
}

// node makes a fifo or whiteout, relative to a descriptor of its directory that
// the root has opened: os.Root has no Mknod.
func (u *unpacker) node(dir *os.Root, e *vzdump.Entry) (err error) {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	kind := uint32(unix.S_IFIFO)
	if e.Type == vzdump.Char {
		kind = unix.S_IFCHR
	}
	return unix.Mknodat(int(d.Fd()), path.Base(e.Path), kind|0o600, 0)
}

// parents returns the directory of p. It makes the directories that no member has
// made, as tar does: 0755 and the guest's root.
func (u *unpacker) parents(p string) (*os.Root, error) {
	dir := path.Dir(p)
	at, err := u.at.at(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return at, err
	}
	above, err := u.parents(dir)
	if err != nil {
		return nil, err
	}
	if err := u.room(nil); err != nil {
		return nil, err
	}
	name := path.Base(dir)
	if err := above.Mkdir(name, 0o755); err != nil {
		return nil, err
	}
	uid, gid := u.ids.host(0, 0)
	if err := above.Lchown(name, uid, gid); err != nil {
		return nil, err
	}
	if err := above.Chmod(name, 0o755); err != nil { // whatever the umask says
		return nil, err
	}
	return u.at.at(dir)
}

// takeConfig removes the configuration from the tree, as PVE does after
// extraction, and a firewall file if it is not empty. An empty one stays, and
// its directory with it.
func (u *unpacker) takeConfig() error {
	read := func(name string) ([]byte, error) {
		info, err := u.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		const limit = 1 << 20
		if info.Size() > limit {
			return nil, fault.Errorf(fault.Invalid, "%s has %d bytes, which exceeds the limit of %d", name, info.Size(), limit)
		}
		return u.root.ReadFile(name)
	}
	var err error
	if u.result.Config, err = read(vzdump.ConfigPath); err != nil {
		return err
	}
	if u.result.Config == nil {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("no ./%s", vzdump.ConfigPath), "this is not a vzdump archive; restore refuses it")
	}
	if err := u.root.Remove(vzdump.ConfigPath); err != nil {
		return err
	}
	if u.result.Firewall, err = read(vzdump.FirewallPath); err != nil {
		return err
	}
	if len(u.result.Firewall) == 0 {
		u.result.Firewall = nil
		return nil
	}
	return u.root.Remove(vzdump.FirewallPath)
}

// attributes sets owner, attributes, mode and time, in this order: chown
// clears set-id bits and capabilities.
func (u *unpacker) attributes(e *vzdump.Entry) (err error) {
	dir, err := u.at.at(path.Dir(e.Path))
	if err != nil {
		return err
	}
	name := path.Base(e.Path)
	if e.Type == vzdump.Dir {
		d, err := dir.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(u.byDescriptor(d, e), d.Close())
	}
	uid, gid := u.ids.host(e.UID, e.GID)
	if err := dir.Lchown(name, uid, gid); err != nil {
		return err
	}
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if e.Type != vzdump.Symlink {
		if err := dir.Chmod(name, fileMode(e.Mode)); err != nil {
			return err
		}
		if err := u.nodeAttributes(d, name, e); err != nil {
			return err
		}
	}
	return setTime(d, name, e.ModTime, unix.AT_SYMLINK_NOFOLLOW)
}

// nodeAttributes sets the capability and the access list of a fifo or whiteout. It opens
// the node as a path alone: a usual open of a fifo waits for a writer.
func (u *unpacker) nodeAttributes(dir *os.File, name string, e *vzdump.Entry) (err error) {
	if len(e.Xattrs) == 0 && e.ACL == nil && e.DefaultACL == nil {
		return nil
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), e.Path)
	defer func() { err = errors.Join(err, f.Close()) }()
	node := *e
	// The kernel takes user.* on regular files and directories only; tar leaves them out as well.
	node.Xattrs = maps.Clone(e.Xattrs)
	maps.DeleteFunc(node.Xattrs, func(name, _ string) bool { return name != vzdump.CapabilityXattr })
	return errors.Join(u.setXattrs(f, &node), u.setACLs(f, &node))
}

func (u *unpacker) byDescriptor(f *os.File, e *vzdump.Entry) error {
	uid, gid := u.ids.host(e.UID, e.GID)
	if err := f.Chown(uid, gid); err != nil {
		return err
	}
	if err := f.Chmod(fileMode(e.Mode)); err != nil {
		return err
	}
	if err := u.setXattrs(f, e); err != nil {
		return err
	}
	if err := u.setACLs(f, e); err != nil {
		return err
	}
	return setTime(f, "", e.ModTime, unix.AT_EMPTY_PATH)
}

// setTime sets the times of name in d. [os.File] and [os.Root] cannot: they
// count in nanoseconds since 1970, which end in the year 2262.
func setTime(d *os.File, name string, t time.Time, flags int) error {
	ts := unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	if err := unix.UtimesNanoAt(int(d.Fd()), name, []unix.Timespec{ts, ts}, flags); err != nil {
		return fmt.Errorf("set time %s: %w", t, err)
	}
	return nil
}

func fileMode(bits uint32) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	if bits&0o4000 != 0 {
		m |= fs.ModeSetuid
	}
	if bits&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	if bits&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}
