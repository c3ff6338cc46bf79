package pct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/mountinfo"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Meter measures the file systems of running guests as PVE does, by the root
// directory of the guest's init, and starts no program: a daemon can answer
// guests by it. It implements [driver.Storage].
//
// What a guest changes in its own view changes its own figures only. File systems
// that a guest itself can serve or combine (FUSE, overlay) are not touched: they
// could hold a call for ever.
type Meter struct {
	d    *Driver
	proc string
}

var _ driver.Storage = (*Meter)(nil)

// NewMeter returns the meter of this node. It uses PVEDir and LXCDir of the
// options.
func NewMeter(o Options) *Meter { return &Meter{d: &Driver{o: o.withFiles()}, proc: "/proc"} }

// measured are the file systems of disks, of which PVE makes volumes and on which
// a volume can be a directory. No guest can mount one of them.
var measured = []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "nfs", "nfs4", "cifs", "smb3", "ceph"}

// maxMounts bounds the list of mounts of a guest's init, which the guest makes.
const maxMounts = 4 << 20

// Storage implements [driver.Storage]: the root file system, then the volumes
// that the configuration mounts. A guest that has hidden a volume from itself
// has no figures of it. Without figures of the root the error is ErrNoFigures.
func (m *Meter) Storage(ctx context.Context, vmid int) ([]driver.Usage, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	config, _, ok, err := m.d.readFile(vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil, wrap(vmid, "storage", err)
	case err != nil || !ok:
		return nil, noFigures(vmid, errors.Join(err, errors.New("its configuration cannot be read")))
	}
	usage, err := m.measure(ctx, vmid, config)
	if err != nil {
		return nil, noFigures(vmid, err)
	}
	return usage, nil
}

func noFigures(vmid int, err error) error {
	return fmt.Errorf("guest %d: %w: %w", vmid, driver.ErrNoFigures, err)
}

func (m *Meter) measure(ctx context.Context, vmid int, config *pctconf.Config) ([]driver.Usage, error) {
	pid, err := m.d.initOf(ctx, vmid)
	if err != nil {
		return nil, err
	}
	g, err := m.enter(pid)
	if err != nil {
		return nil, err
	}
	defer g.close()
	// If it is still the guest's now, it was the guest's when it was opened.
	if again, err := m.d.initOf(ctx, vmid); err != nil || again != pid {
		return nil, errors.Join(err, fmt.Errorf("its init was process %d, now it is %d", pid, again))
	}
	root, err := driver.UsageOf(g.root.fd, "/")
	if err != nil {
		return nil, err
	}
	all := []driver.Usage{root}
	for _, p := range config.Mounts() {
		if p.Err != nil || p.IsDirectory() || p.Target == "" {
			continue
		}
		if u, ok := g.volume(p.Target); ok {
			all = append(all, u)
		}
	}
	slices.SortFunc(all[1:], func(a, b driver.Usage) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// place is a directory of a guest, opened without reading it.
type place struct {
	fd    int
	mount uint64
}

// inside is the view of a guest's init.
type inside struct {
	root  place
	types map[uint64]string // of file systems, by mount
	open  []int
}

func (g *inside) close() {
	for _, fd := range g.open {
		_ = unix.Close(fd) // path descriptors: nothing is lost
	}
}

// enter opens the root directory of a process. Nothing is asked of a file system
// before its type is known.
func (m *Meter) enter(pid int) (_ *inside, err error) {
	g := &inside{}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	dir := filepath.Join(m.proc, strconv.Itoa(pid))
	if g.root, err = g.openAt(unix.AT_FDCWD, filepath.Join(dir, "root"), 0); err != nil {
		return nil, err
	}
	own, ownErr := os.Stat(filepath.Join(m.proc, "self/ns/mnt"))
	its, itsErr := os.Stat(filepath.Join(dir, "ns/mnt"))
	if err := errors.Join(ownErr, itsErr); err != nil {
		return nil, err
	}
	if os.SameFile(own, its) {
		return nil, fmt.Errorf("process %d is in this program's mount namespace", pid)
	}
	mounts, err := readMounts(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return nil, err
	}
	g.types = map[uint64]string{}
	for _, mount := range mounts {
		g.types[mount.ID] = mount.Type
	}
	if !g.isMeasured(g.root) {
		return nil, fmt.Errorf("its root file system is of the type %q", g.types[g.root.mount])
	}
	return g, nil
}

func readMounts(name string) ([]mountinfo.Mount, error) {
	text, err := regular.Read(name, maxMounts)
	if err != nil {
		return nil, err
	}
	return mountinfo.Parse(string(text))
}

func (g *inside) isMeasured(p place) bool { return slices.Contains(measured, g.types[p.mount]) }

// openAt opens a directory as a place. The open does not reach a file system
// beyond the directory that dir is.
func (g *inside) openAt(dir int, name string, flags int) (place, error) {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return place{}, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	g.open = append(g.open, fd)
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st); err != nil {
		return place{}, &fs.PathError{Op: "statx", Path: name, Err: err}
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return place{}, &fs.PathError{Op: "statx", Path: name, Err: errors.New("this kernel does not number mounts")}
	}
	return place{fd, st.Mnt_id}, nil
}

// volume measures the volume that is mounted at target. It follows no link, and
// enters no file system that is not measured.
func (g *inside) volume(target string) (driver.Usage, bool) {
	at := g.root
	for name := range strings.SplitSeq(strings.Trim(target, "/"), "/") {
		switch name {
		case "", ".":
			continue
		case "..":
			return driver.Usage{}, false
		}
		next, err := g.openAt(at.fd, name, unix.O_NOFOLLOW)
		if err != nil || !g.isMeasured(next) {
			return driver.Usage{}, false
		}
		at = next
	}
	if at.mount == g.root.mount { // nothing is mounted there
		return driver.Usage{}, false
	}
	u, err := driver.UsageOf(at.fd, target)
	return u, err == nil
}
