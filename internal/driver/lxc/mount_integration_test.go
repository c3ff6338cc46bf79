//go:build integration

package lxc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
)

// InGuest is for the tests of the package's outside.
func (d *Driver) InGuest(ctx context.Context, vmid, pid int, work func() error) error {
	return d.inGuest(ctx, vmid, pid, work)
}

// TestDirectoryIsGivenToItsOwner, and not one that was mounted on it in between.
func TestDirectoryIsGivenToItsOwner(t *testing.T) {
	dir := t.TempDir()
	owner := driver.IDs{UID: 100000, GID: 100001}
	target := filepath.Join(dir, "made/target")
	f, err := openTarget(target, owner)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for _, path := range []string{filepath.Dir(target), target} {
		if got := ownerOf(t, path); got != owner {
			t.Errorf("%s belongs to %v, want %v", path, got, owner)
		}
	}

	secret, swapped := filepath.Join(dir, "secret"), filepath.Join(dir, "swapped")
	if err := errors.Join(os.Mkdir(secret, 0o755), os.Mkdir(swapped, 0o755)); err != nil {
		t.Fatal(err)
	}
	err = inNamespace(func() error { return nil }, func() (err error) {
		if err := unix.Mount(secret, swapped, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		parent, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, parent.Close()) }()
		return giveDirectory(parent, "swapped", owner)
	})
	if !errors.Is(err, unix.EXDEV) {
		t.Errorf("a directory with a mount on it: error %v, want EXDEV", err)
	}
	if got := ownerOf(t, secret); got == owner {
		t.Errorf("what was mounted belongs to %v now", got)
	}
}

func ownerOf(t *testing.T, path string) driver.IDs {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, _ := info.Sys().(*syscall.Stat_t)
	return driver.IDs{UID: int(st.Uid), GID: int(st.Gid)}
}
