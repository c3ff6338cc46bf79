package leaktest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

// The deliberate leaks are ended, so that this package's own TestMain passes.
func TestLeaksAreFound(t *testing.T) {
	before, err := descriptors()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "left")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := newDescriptors(before); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("an open file: got %v", err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		waitFor(stop)
	}()
	err = check(before, 100*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "waitFor") || !strings.Contains(err.Error(), name) {
		t.Errorf("an open file and a goroutine: got %v", err)
	}
	close(stop)
	<-stopped
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := newDescriptors(before); err != nil {
		t.Errorf("all is closed: got %v", err)
	}
}

func waitFor(stop chan struct{}) { <-stop }
