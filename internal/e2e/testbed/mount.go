package testbed

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// shareDir makes the bed's directory a mount of its own whose inner mounts are
// seen by the engine, which has a mount namespace of its own: a guest's config
// mount is made after the engine was started.
func shareDir(dir string) error {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s on itself: %w", dir, err)
	}
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mount %s: %w", dir, err)
	}
	return nil
}

// unmountDir takes the bed's directory and all that is mounted below it out of
// the tree, before the directory is removed. It copes with nothing to do.
func unmountDir(dir string) error {
	for {
		err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return nil // not a mount, or not any more
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
}
