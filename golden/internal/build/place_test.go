package build

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/felhom/felhom-golden/internal/powercut"
)

// The power is cut after each operation: an archive under its name has its records, and what was
// acknowledged is there.
func TestPlaceAfterAPowerCut(t *testing.T) {
	records := []document{{".notes", []byte("notes")}, {".sha256", []byte("sum")}}
	for _, force := range []bool{false, true} {
		c := powercut.NewDisk(t)
		at := c.Mount(t)
		from := filepath.Join(at, "unfinished", "a.tar.zst")
		if err := os.Mkdir(filepath.Dir(from), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(from)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString("archive")
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if err := place(from, filepath.Join(at, "a.tar.zst"), force, records); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(at, "a.tar.zst.notes")); err != nil || info.Mode().Perm() != 0o644 {
			t.Errorf("the notes: %v, %v", info, err)
		}
		if c.Length() < 12 {
			t.Fatalf("%d operations: they were not noted", c.Length())
		}
		c.Cuts(t, 0, func(cut powercut.Cut) {
			dir := t.TempDir()
			cut.Write(t, dir)
			_, err := os.Lstat(filepath.Join(dir, "a.tar.zst"))
			if err != nil && cut.After < c.Length() {
				return
			}
			for suffix, want := range map[string]string{"": "archive", ".notes": "notes", ".sha256": "sum"} {
				if got, err := os.ReadFile(filepath.Join(dir, "a.tar.zst"+suffix)); err != nil || string(got) != want {
					t.Errorf("force %v, %s: a.tar.zst%s has %q, %v, want %q", force, cut.Name, suffix, got, err, want)
				}
			}
		})
	}
}
