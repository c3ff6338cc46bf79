package pct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/mountinfo"
	"github.com/felhom/felhom-golden/internal/regular"
)

const maxMountInfo = 16 << 20

func (d *Driver) rootfsDir(vmid int) string {
	return filepath.Join(d.o.LXCDir, strconv.Itoa(vmid), "rootfs")
}

// unmount ends the mounts that a killed restore has made on this host to
// extract the archive; the loop device of an image is freed with it. Programs
// that the worker left may use them for a moment.
func (d *Driver) unmount(ctx context.Context, vmid int) error {
	root, busy := d.rootfsDir(vmid), ""
	done, err := d.poll(ctx, d.o.Settle, func() (bool, error) {
		const most = 1000 // mounts on one directory
		for range most {
			mounted, err := d.mountsBelow(root)
			if err != nil || len(mounted) == 0 {
				return err == nil, err
			}
			busy = mounted[len(mounted)-1]
			switch err := d.o.Unmount(busy); {
			case errors.Is(err, unix.EBUSY):
				return false, nil
			case err != nil:
				return false, fmt.Errorf("unmount %s: %w", busy, err)
			}
		}
		return false, nil
	})
	if err == nil && !done {
		return driver.Faultf(driver.ErrBusy, "end what still works in it, see fuser -m "+root, "after %s %s is still in use", d.o.Settle, busy)
	}
	return err
}

// mountsBelow lists what is mounted on a directory and below it, in the order
// in which it was mounted.
func (d *Driver) mountsBelow(root string) ([]string, error) {
	data, err := regular.Read(d.o.MountInfo, maxMountInfo)
	if err != nil {
		return nil, err
	}
	list, err := mountinfo.Parse(string(data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.o.MountInfo, err)
	}
	return mountinfo.Below(list, root), nil
}

// removeDirs removes the empty directories that a killed worker left.
func (d *Driver) removeDirs(vmid int) error {
	root := d.rootfsDir(vmid)
	for _, dir := range []string{root, filepath.Dir(root)} {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
	return nil
}

func unmountPath(path string) error { return unix.Unmount(path, unix.UMOUNT_NOFOLLOW) }
