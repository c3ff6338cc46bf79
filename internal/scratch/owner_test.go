package scratch

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOtherOwner has the file system give each directory another owner, as a share that
// is mounted with uid= does. A directory is made all the same, once; one that is
// there with another owner may be another user's, and stays.
func TestOtherOwner(t *testing.T) {
	const other = 65534
	parent := t.TempDir()
	kept := filepath.Join(parent, prefix+"KEPT")
	if err := os.Mkdir(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{parent, kept} {
		if err := os.Chown(dir, other, other); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read
	type result struct {
		dir Dir
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its ids
		if err := unix.Setfsuid(other); err != nil {
			done <- result{err: err}
			return
		}
		// By its descriptor: the directories above are closed to another user.
		d, err := New(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		done <- result{d, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			t.Fatal(r.err)
		}
		if list, err := os.ReadDir(parent); err != nil || len(list) != 2 {
			t.Errorf("want one directory beside the other user's, got %v, %v", list, err)
		}
		if err := r.dir.Close(); err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it makes one directory after the other")
	}
	if _, err := os.Lstat(kept); err != nil {
		t.Errorf("another user's directory: %v", err)
	}
}
