package lxc

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// place is where a folder is in the file system that it is on, whatever of that
// is mounted where.
type place struct {
	device string // major:minor
	path   string
}

// mountEntry is a line of proc_pid_mountinfo(5).
type mountEntry struct {
	place        // of the mount's root
	id    uint64 // as statx tells it
	point string // seen from the root of the process
}

// deleted is what the kernel appends to a root that was removed since.
const deleted = "//deleted"

func parseMountinfo(text string) []mountEntry {
	const fields = 5
	var all []mountEntry
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < fields {
			continue
		}
		id, err := strconv.ParseUint(f[0], 10, 64)
		if err != nil {
			continue
		}
		all = append(all, mountEntry{place: place{f[2], strings.TrimSuffix(unescape(f[3]), deleted)}, id: id, point: unescape(f[4])})
	}
	return all
}

// unescape undoes what the kernel does to space, tab, newline and backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func readMountinfo(r io.Reader) ([]mountEntry, error) {
	data, err := io.ReadAll(r)
	return parseMountinfo(string(data)), err
}

// mountOf returns the mount that f is on, and whether f is its root.
func mountOf(f *os.File) (id uint64, isRoot bool, err error) {
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st); err != nil {
		return 0, false, &fs.PathError{Op: "statx", Path: f.Name(), Err: err}
	}
	return st.Mnt_id, st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// placeOf returns the place of a folder of this host, also of one that is gone.
func placeOf(path string) (p place, err error) {
	dir := path
	f, err := openFolder(dir)
	for err != nil && dir != "/" {
		dir = filepath.Dir(dir)
		f, err = openFolder(dir)
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
	for _, e := range entries {
		if e.id != id {
			continue
		}
		below, err := filepath.Rel(e.point, path)
		if err != nil {
			return p, err
		}
		return place{e.device, filepath.Join(e.path, below)}, nil
	}
	return p, &fs.PathError{Op: "find mount of", Path: path, Err: fs.ErrNotExist}
}
