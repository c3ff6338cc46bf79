package scratch

import (
	"os"
	"path/filepath"
	"testing"
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
