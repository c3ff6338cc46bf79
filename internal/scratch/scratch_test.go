package scratch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestNewClearsWhatKilledRunsLeft: of a directory that is locked nothing is
// taken, one that no one locks goes, and so does our own in the end.
func TestNewClearsWhatKilledRunsLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b*")
	stale, other := filepath.Join(dir, prefix+"STALE"), filepath.Join(dir, ".other")
	for _, d := range []string{stale, other} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(stale, "part.tar.zst"), []byte("part"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(dir, prefix+"LINK")); err != nil {
		t.Fatal(err)
	}
	first, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{stale: false, other: true, first.Path: true, second.Path: true} {
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s: want there %v, got %v", path, want, err)
		}
	}
	for _, s := range []Dir{first, second} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(s.Path); err == nil {
			t.Errorf("%s is still there", s.Path)
		}
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, prefix+"lock"), 0o700); err != nil { // of a killed run
		t.Fatal(err)
	}
	never := func() { t.Error("it waits for a killed run") }
	lock, err := Lock(t.Context(), dir, never)
	if err != nil {
		t.Fatal(err)
	}
	if err := Sweep(dir); err != nil { // takes nothing of a run that lives
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	waits := 0
	if _, err := Lock(ctx, dir, func() { waits++ }); !errors.Is(err, context.DeadlineExceeded) || waits != 1 {
		t.Errorf("a second one: %v after %d waits, want it to wait until its context ends", err, waits)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("got %v, %v, want nothing left", left, err)
	}
}

// TestLockOfMany has runs take and leave the lock beside others that sweep: one at a time has it.
func TestLockOfMany(t *testing.T) {
	dir := t.TempDir()
	var held sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				lock, err := Lock(t.Context(), dir, func() {})
				if err != nil {
					t.Error(err)
					return
				}
				if !held.TryLock() {
					t.Error("two have the lock")
					return
				}
				err = Sweep(dir)
				held.Unlock()
				if err := errors.Join(err, lock.Close()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("got %v, %v, want nothing left", left, err)
	}
}
