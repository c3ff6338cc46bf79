//go:build integration

package lxc_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/directory"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/isolate"
)

// TestPowerLoss copies the disk of a file system that writes nothing by itself, after each change that was
// acknowledged: a guest that was restored is there with all its files, and one that was removed,
// or discarded, is not.
func TestPowerLoss(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	b := newBed(t)
	disk := newDisk(t)
	at, unmount := disk.mount(t, disk.image)
	defer unmount()
	d := lxc.New(lxc.Options{Path: filepath.Join(at, "guests"), Storage: directory.New(at)})
	vmid := testbed.VMIDs(t, 1)[0]
	own, partial := fmt.Sprint("guests/", vmid), fmt.Sprint("guests/.", vmid, ".partial")
	restore := func(ctx context.Context, archive string, p driver.Progress) error {
		return d.Restore(ctx, vmid, driver.Spec{Archive: archive, Net: driver.Net{Bridge: b.bridge}}, p)
	}
	if err := restore(t.Context(), b.archive, nil); err != nil {
		t.Fatal(err)
	}
	disk.afterPowerLoss(t, func(lost string) {
		if want, got := filesBelow(t, filepath.Join(at, own)), filesBelow(t, filepath.Join(lost, own)); len(want) < 10 || got != want {
			t.Errorf("the guest that was restored has\n%s\nwant\n%s", got, want)
		}
	})
	if err := d.Destroy(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	disk.wantNone(t, "a guest that was destroyed", own, partial)

	// What a killed restore left must not come back either.
	if err := os.MkdirAll(filepath.Join(at, partial, "rootfs"), 0o700); err != nil {
		t.Fatal(err)
	}
	disk.sync(t, at)
	if err := d.Discard(t.Context(), vmid, ""); err != nil {
		t.Fatal(err)
	}
	disk.wantNone(t, "a guest that was discarded", own, partial)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := restore(ctx, b.archive, func(int64, int64) { disk.sync(t, at); cancel() }); err == nil {
		t.Fatal("a restore that was ended succeeded")
	}
	disk.wantNone(t, "a guest whose restore failed", own, partial)
}

// disk is an image of a file system in a file. Its file system is mounted with the longest
// interval between two commits of its journal.
type disk struct{ image, dir string }

func newDisk(t *testing.T) disk {
	t.Helper()
	if err := testbed.Require(t.Context(), os.Stderr, "mkfs.ext4"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d := disk{image: filepath.Join(dir, "disk"), dir: dir}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 64<<20); err != nil {
		t.Fatal(err)
	}
	program(t, "mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image)
	return d
}

func program(t *testing.T, path string, args ...string) {
	t.Helper()
	if _, err := run.Run(t.Context(), run.Cmd{Path: path, Args: args}); err != nil {
		t.Fatal(err)
	}
}

func (d disk) mount(t *testing.T, image string) (at string, unmount func()) {
	t.Helper()
	at = t.TempDir()
	program(t, "mount", "-t", "ext4", "-o", "loop,commit=900", image, at)
	return at, func() { // which frees the loop device, of which a machine may have few
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	}
}

// sync writes all that is in memory, as the kernel does from time to time.
func (d disk) sync(t *testing.T, at string) {
	f, err := os.Open(at)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = f.Close() }() // it was not written to
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		t.Error(err)
	}
}

// afterPowerLoss calls look with a mount of what is on the disk now.
func (d disk) afterPowerLoss(t *testing.T, look func(lost string)) {
	t.Helper()
	f, err := os.CreateTemp(d.dir, "lost")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	program(t, "cp", "--sparse=always", d.image, f.Name())
	at, unmount := d.mount(t, f.Name())
	defer unmount()
	look(at)
}

func (d disk) wantNone(t *testing.T, what string, names ...string) {
	t.Helper()
	d.afterPowerLoss(t, func(lost string) {
		for _, name := range names {
			if _, err := os.Lstat(filepath.Join(lost, name)); !os.IsNotExist(err) {
				t.Errorf("%s is back as %s: %v", what, name, err)
			}
		}
	})
}

// filesBelow lists what is in dir, with mode, owner and size.
func filesBelow(t *testing.T, dir string) string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%s %o %d:%d", strings.TrimPrefix(path, dir), st.Mode, st.Uid, st.Gid)
		if e.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d bytes, %d zero", len(data), strings.Count(string(data), "\x00"))
		}
		list = append(list, line)
		return nil
	})
	if err != nil {
		list = append(list, err.Error())
	}
	return strings.Join(list, "\n")
}
