package directory_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/directory"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/isolate"
)

func addGuest(t *testing.T, dir string, vmid int, mounts ...string) {
	t.Helper()
	guest := filepath.Join(dir, strconv.Itoa(vmid))
	directories := []string{filepath.Join(guest, "rootfs")}
	for _, m := range mounts {
		directories = append(directories, filepath.Join(guest, "mounts", unit.UnitNamePathEscape(m)))
	}
	for _, f := range directories {
		if err := os.MkdirAll(f, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDriverConforms(t *testing.T) {
	drivertest.RunStorage(t, func(t *testing.T) drivertest.Bed {
		dir := t.TempDir()
		return drivertest.Bed{Storage: directory.New(dir), AddGuest: func(t *testing.T, vmid int, mounts ...string) {
			t.Helper()
			addGuest(t, dir, vmid, mounts...)
		}}
	})
}

func TestFiguresAreThoseOfTheFileSystem(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	dir := t.TempDir()
	addGuest(t, dir, 8200, "/mnt/data")
	// A file system of a known size, so that the unit cannot be mistaken.
	point := filepath.Join(dir, "8200/mounts/mnt-data")
	if err := unix.Mount("none", point, "tmpfs", 0, "size=8m"); err != nil {
		t.Fatalf("mount tmpfs (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(point, 0); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(point, "f"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := directory.New(dir).Storage(t.Context(), 8200)
	if err != nil {
		t.Fatal(err)
	}
	if want := (driver.Usage{Path: "/mnt/data", Size: 8 << 20, Used: 1 << 20, Available: 7 << 20}); got[1] != want {
		t.Errorf("got %+v, want %+v", got[1], want)
	}
}

func TestLinkInPlaceOfADirectoryIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	addGuest(t, dir, 8200)
	if err := os.Mkdir(filepath.Join(dir, "8200/mounts"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(dir, "8200/mounts/srv")); err != nil {
		t.Fatal(err)
	}
	got, err := directory.New(dir).Storage(t.Context(), 8200)
	if err == nil || errors.Is(err, driver.ErrNotFound) {
		t.Errorf("got %v, %v, want an error that is not ErrNotFound", got, err)
	}
}
