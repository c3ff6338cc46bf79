// Package directory measures the file systems of guests whose files are plain
// directories of the host, as on a host without Proxmox VE: call [New], then
// [Driver.Storage]. Guest N is the directory <dir>/N with its root file system in
// rootfs and its mount points in mounts, one directory each, named as systemd
// escapes paths ("mnt-data" is /mnt/data). It reads sizes as df(1) does and
// changes nothing; guests on the same file system of the host all have that file
// system's figures.
package directory

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

	"github.com/coreos/go-systemd/v22/unit"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
)

// Driver measures the guests below one directory. It implements [driver.Storage].
type Driver struct {
	dir string
}

// New returns the driver of the guests below dir. dir need not exist yet.
func New(dir string) *Driver { return &Driver{dir: dir} }

// Storage returns the use of the guest's file systems. A guest without a
// rootfs directory is [driver.ErrNotFound].
func (d *Driver) Storage(ctx context.Context, vmid int) ([]driver.Usage, error) {
	guest := filepath.Join(d.dir, strconv.Itoa(vmid))
	rootfs, err := usage(ctx, filepath.Join(guest, "rootfs"), "/")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, driver.NoGuest(vmid)
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

// usage measures one directory, and follows no link in its place, because a guest
// may have made it.
func usage(ctx context.Context, dir, seenAs string) (driver.Usage, error) {
	if err := context.Cause(ctx); err != nil {
		return driver.Usage{}, err
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return driver.Usage{}, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(fd) }() // a path descriptor: nothing is lost
	u, err := driver.UsageOf(fd, seenAs)
	if err != nil {
		return driver.Usage{}, &fs.PathError{Op: "measure", Path: dir, Err: err}
	}
	return u, nil
}
