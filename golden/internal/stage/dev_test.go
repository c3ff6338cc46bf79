package stage

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/isolate"
)

// TestEmptyDev guards the machine: what is mounted on a root's /dev is not the
// root's to remove. The mount is a tmpfs of the test's own.
func TestEmptyDev(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	root := t.TempDir()
	dev := filepath.Join(root, "dev")
	if err := os.Mkdir(dev, 0o755); err != nil {
		t.Fatal(err)
	}
	touch := func() {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dev, "null"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNow(t, r) })
	touch()
	if err := emptyDev(r); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dev); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	if err := unix.Mount("tmpfs", dev, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dev, 0); err != nil {
			t.Error(err)
		}
	})
	touch()
	if err := emptyDev(r); fault.Of(err) != fault.Invalid || fault.HintOf(err) == "" {
		t.Errorf("want refused with a hint, got %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dev, "null")); err != nil {
		t.Errorf("removed from a mount: %v", err)
	}
}
