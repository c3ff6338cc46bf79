package filelock_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/felhom/felhom-golden/internal/filelock"
)

// A child between fork and exec has a copy of each descriptor. What was given up
// must be free although the copy is open still.
func TestACopyHoldsNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "l")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []filelock.Kind{filelock.Exclusive, filelock.Shared} {
		if err := filelock.Try(f, kind); err != nil {
			t.Fatal(err)
		}
		fd, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Close(fd) })
		if err := filelock.Close(f); err != nil {
			t.Fatal(err)
		}
		if f, err = os.Open(name); err != nil {
			t.Fatal(err)
		}
		if err := filelock.Try(f, filelock.Exclusive); err != nil {
			t.Errorf("kind %d: %v", kind, err)
		}
	}
	_ = f.Close()
}

func TestKinds(t *testing.T) {
	dir := t.TempDir()
	open := func() *os.File {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	one, two := open(), open()
	for _, f := range []*os.File{one, two} {
		if err := filelock.Try(f, filelock.Shared); err != nil {
			t.Fatal(err)
		}
	}
	waited := 0
	done := make(chan error, 1)
	began := make(chan bool)
	go func() {
		done <- filelock.TakeWhenFree(t.Context(), one, filelock.Exclusive, func() { waited++; close(began) })
	}()
	<-began
	if err := filelock.Close(two); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || waited != 1 {
		t.Errorf("error %v, told %d times to wait, want once", err, waited)
	}
}
