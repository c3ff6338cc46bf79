package atomicfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/atomicfile"
)

// After the rename a failure leaves the new file in place, and says so. A
// directory that may be written and not read lets the rename succeed and the
// sync fail.
func TestFailureAfterTheRename(t *testing.T) {
	const unprivileged = 65534
	dir := filepath.Join(t.TempDir(), "d")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "f"), []byte("old"), 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }() // nothing is written by it
	if err := errors.Join(os.Chown(dir, unprivileged, unprivileged), os.Chmod(dir, 0o300)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its ids
		if err := unix.Setfsuid(unprivileged); err != nil {
			done <- err
			return
		}
		done <- atomicfile.Write(root, "f", []byte("new"), atomicfile.Attr{Mode: 0o600})
	}()
	err = <-done
	data, readErr := os.ReadFile(filepath.Join(dir, "f"))
	if !errors.Is(err, atomicfile.ErrInPlace) || readErr != nil || string(data) != "new" {
		t.Errorf("error %v, file %q, %v; want the new file and an ErrInPlace", err, data, readErr)
	}
	if err := atomicfile.Write(root, "no/f", nil, atomicfile.Attr{Mode: 0o600}); err == nil || errors.Is(err, atomicfile.ErrInPlace) {
		t.Errorf("before the rename: error %v, want one that is not ErrInPlace", err)
	}
}
