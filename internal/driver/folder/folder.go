// Package folder is the hypervisor adapter of hosts that have none: a guest is
// a folder <dir>/<vmid> with its root file system in rootfs and its mount points
// in mounts, one folder each, named as systemd escapes paths ("mnt-data" is
// /mnt/data). It reads sizes as df(1) does and changes nothing; guests that
// share one host file system each see that file system's figures.
package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
)

// Driver serves the guests below one folder. It implements [driver.Storage].
type Driver struct {
	dir string
}

// New returns the driver of the guests below dir. dir need not exist yet.
func New(dir string) *Driver { return &Driver{dir: dir} }

// Storage returns the use of the guest's file systems. A guest without a
// rootfs folder is [driver.ErrNotFound].
func (d *Driver) Storage(ctx context.Context, vmid int) ([]driver.Usage, error) {
	guest := filepath.Join(d.dir, strconv.Itoa(vmid))
	rootfs, err := usage(ctx, filepath.Join(guest, "rootfs"), "/")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("guest %d: %w", vmid, driver.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("guest %d: %w", vmid, err)
	}
	mounts, err := os.ReadDir(filepath.Join(guest, "mounts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("guest %d: %w", vmid, err)
	}
	var points []driver.Usage
	for _, m := range mounts {
		u, err := usage(ctx, filepath.Join(guest, "mounts", m.Name()), unit.UnitNamePathUnescape(m.Name()))
		if err != nil {
			return nil, fmt.Errorf("guest %d: %w", vmid, err)
		}
		points = append(points, u)
	}
	slices.SortFunc(points, func(a, b driver.Usage) int { return strings.Compare(a.Path, b.Path) })
	return append([]driver.Usage{rootfs}, points...), nil
}

// usage looks at one folder without following a link in its place: what stands
// there may have been made by a guest.
func usage(ctx context.Context, dir, seenAs string) (driver.Usage, error) {
	if err := context.Cause(ctx); err != nil {
		return driver.Usage{}, err
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return driver.Usage{}, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // a path descriptor: nothing is lost
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return driver.Usage{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	unitSize := st.Frsize // the unit of the counters; Bsize is only the preferred size of a transfer
	if unitSize == 0 {
		unitSize = st.Bsize
	}
	return driver.Usage{
		Path:      seenAs,
		Size:      bytesOf(st.Blocks, unitSize),
		Used:      bytesOf(st.Blocks-min(st.Bfree, st.Blocks), unitSize),
		Available: bytesOf(st.Bavail, unitSize),
	}, nil
}

// bytesOf stays at the largest number where a file system (some FUSE ones)
// claims more than that.
func bytesOf(blocks uint64, size int64) int64 {
	if size <= 0 || blocks > uint64(math.MaxInt64/size) {
		return math.MaxInt64
	}
	return int64(blocks) * size
}
