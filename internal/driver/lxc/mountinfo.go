package lxc

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/mountinfo"
)

// place is where a directory is in its file system, independent of mounts.
type place struct {
	device string // major:minor
	path   string
}

// deleted is what the kernel appends to a root that was removed since.
const deleted = "//deleted"

// rootOf returns the place of the directory that m has mounted.
func rootOf(m mountinfo.Mount) place {
	return place{m.Device, strings.TrimSuffix(m.Root, deleted)}
}

func readMountinfo(r io.Reader) ([]mountinfo.Mount, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return mountinfo.Parse(string(data))
}

// mountOf returns the mount that f is on, and whether f is its root.
func mountOf(f *os.File) (id uint64, isRoot bool, err error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return 0, false, &fs.PathError{Op: "statx", Path: f.Name(), Err: err}
	}
	return st.Mnt_id, st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// placeOf returns the place of a directory of this host, also of a removed one.
func placeOf(path string) (p place, err error) {
	dir := path
	f, err := openDirectory(dir)
	for err != nil && dir != "/" {
		dir = filepath.Dir(dir)
		f, err = openDirectory(dir)
	}
	if err != nil {
		return p, err
	}
	id, _, err := mountOf(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return p, err
	}
	table, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, table.Close()) }()
	entries, err := readMountinfo(table)
	if err != nil {
		return p, err
	}
	for _, m := range entries {
		if m.ID != id {
			continue
		}
		below, err := filepath.Rel(m.Point, path)
		if err != nil {
			return p, err
		}
		root := rootOf(m)
		return place{root.device, filepath.Join(root.path, below)}, nil
	}
	return p, &fs.PathError{Op: "find mount of", Path: path, Err: fs.ErrNotExist}
}
