package overlay_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/isolate"
)

func TestLay(t *testing.T) {
	root := t.TempDir()
	outside := t.TempDir()
	source := filepath.Join(outside, "source")
	if err := os.WriteFile(source, []byte("from source"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []overlay.File{
		{Path: "etc/a/b", Mode: 0o640 | fs.ModeSetuid, UID: 7, GID: 8, Data: []byte("b")},
		{Path: "etc/dir", Mode: fs.ModeDir | 0o750},
		{Path: "etc/link", Mode: fs.ModeSymlink, Link: "/etc/a"},
		{Path: "etc/src", Mode: 0o755, Source: source},
	}
	epoch := time.Unix(1760000000, 0)
	for range 2 { // it is safe to repeat
		if err := overlay.Lay(root, files, epoch); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]fs.FileMode{"etc": fs.ModeDir | 0o755, "etc/a/b": 0o640 | fs.ModeSetuid, "etc/dir": fs.ModeDir | 0o750, "etc/link": fs.ModeSymlink | 0o777, "etc/src": 0o755} {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: want %v, got %v %v", name, want, info, err)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "etc/src")); err != nil || !info.ModTime().Equal(epoch) {
		t.Errorf("time: want %v, got %v %v", epoch, info, err)
	}
	if err := os.Symlink(outside, filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	if err := overlay.Lay(root, []overlay.File{{Path: "out/escaped", Mode: 0o644}}, epoch); err == nil {
		t.Error("wrote through a link that leads out of the root")
	}
	if err := overlay.Lay(root, []overlay.File{{Path: "etc", Mode: 0o644}}, epoch); err == nil {
		t.Error("replaced a directory by a file")
	}
}

// A disk that is full is named with what to do. The mount is of this test alone.
func TestLayOnFullDisk(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=4k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, 0); err != nil {
			t.Error(err)
		}
	})
	err := overlay.Lay(root, []overlay.File{{Path: "a", Mode: 0o644, Data: make([]byte, 64<<10)}}, time.Time{})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fault.HintOf(err), root) {
		t.Errorf("want a full disk with a hint, got %v, hint %q", err, fault.HintOf(err))
	}
}
