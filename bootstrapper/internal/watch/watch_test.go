package watch

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/isolate"
)

func start(t *testing.T, dir string) *Watcher {
	t.Helper()
	w, err := New(dir, "a.json", "b.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// told waits for a token and gives what is there then.
func told(t *testing.T, w *Watcher) State {
	t.Helper()
	select {
	case <-w.Changes():
	case <-time.After(time.Minute):
		t.Fatal("the watch told nothing")
	}
	return w.Look()
}

func TestChangesOfFiles(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.json"), filepath.Join(dir, "b.tmpl")
	w := start(t, dir)
	before := w.Look()
	if before.Present() {
		t.Error("nothing is there, and it says otherwise")
	}
	for _, step := range []struct {
		name    string
		do      func() error
		present bool
	}{
		{"first file comes", func() error { write(t, a, "1"); return nil }, true},
		{"same bytes in a new file", func() error { write(t, a, "1"); return nil }, true},
		{"written in place", func() error { return os.WriteFile(a, []byte("22"), 0o600) }, true},
		{"owner changes", func() error { return os.Chown(a, 1, 1) }, true},
		{"mode changes", func() error { return os.Chmod(a, 0o640) }, true},
		{"second file comes", func() error { write(t, b, "1"); return nil }, true},
		{"second file goes", func() error { return os.Remove(b) }, true},
		{"first file goes", func() error { return os.Remove(a) }, false},
	} {
		t.Run(step.name, func(t *testing.T) {
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			after := told(t, w)
			if after == before {
				t.Error("it was told of, and looks the same")
			}
			if after.Present() != step.present {
				t.Errorf("present %v, want %v", after.Present(), step.present)
			}
			before = w.Look()
			drain(w)
		})
	}
}

// drain takes the token of an event that belongs to the step before.
func drain(w *Watcher) {
	select {
	case <-w.Changes():
	case <-time.After(20 * time.Millisecond):
	}
}

func TestOtherFilesAreIgnored(t *testing.T) {
	dir := t.TempDir()
	w := start(t, dir)
	write(t, filepath.Join(dir, "other"), "1")
	write(t, filepath.Join(dir, "b.tmpl"), "1") // the queue is in order: this ends the wait
	told(t, w)
	select {
	case <-w.Changes():
		t.Error("told twice: the other file was told of as well")
	default:
	}
}

// TestMounts is the trap of a directory that is covered: the watch must follow.
func TestMounts(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	dir, source := t.TempDir(), t.TempDir()
	write(t, filepath.Join(source, "a.json"), "1")
	w := start(t, dir)
	bind := func() State {
		t.Helper()
		if err := syscall.Mount(source, dir, "", syscall.MS_BIND, ""); err != nil {
			t.Fatalf("bind mount (this test needs root): %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		return until(t, w, State.Present)
	}
	first := bind()
	write(t, filepath.Join(source, "a.json"), "2")
	before := until(t, w, func(s State) bool { return s != first })
	if !before.Present() {
		t.Error("a rewritten file is not there")
	}
	// Not MNT_DETACH: this fails when the watch holds something of the mount open.
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Fatalf("the mount cannot be taken away: %v", err)
	}
	until(t, w, func(s State) bool { return !s.Present() })
	// The same files again are news all the same: the host put them there again.
	if again := bind(); again == before {
		t.Error("a mount that was taken away and put back looks the same")
	}
}

// until takes tokens until what is there is right: other tests' mounts are
// told of as well.
func until(t *testing.T, w *Watcher, ok func(State) bool) State {
	t.Helper()
	for {
		if s := told(t, w); ok(s) {
			return s
		}
	}
}

func TestMissingDirectoryIsAccepted(t *testing.T) {
	w := start(t, filepath.Join(t.TempDir(), "none"))
	if w.Look().Present() {
		t.Error("nothing is there")
	}
	if _, err := New(t.TempDir()); err == nil {
		t.Error("a watch for nothing was made")
	}
}
