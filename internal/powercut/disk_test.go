package powercut_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/powercut"
)

// What was not synced is lost with its directory, and what was removed is back until the
// directory that it was in is synced: else the tests of power cuts would prove nothing.
func TestAfter(t *testing.T) {
	steps := []struct {
		name                    string
		do                      func(at string) error
		kept, dataLost, allLost string
	}{
		{"a directory", func(at string) error { return os.Mkdir(filepath.Join(at, "d"), 0o700) }, "d/", "d/", ""},
		{"a file in it", func(at string) error { return os.WriteFile(filepath.Join(at, "d/f"), []byte("x"), 0o600) }, "d/ d/f=x", "d/ d/f=", ""},
		{"fsync of the file", func(at string) error { return sync(filepath.Join(at, "d/f")) }, "d/ d/f=x", "d/ d/f=x", ""},
		{"fsync of the directory", func(at string) error { return sync(filepath.Join(at, "d")) }, "d/ d/f=x", "d/ d/f=x", ""},
		{"fsync above it", sync, "d/ d/f=x", "d/ d/f=x", "d/ d/f=x"},
		{"unlink", func(at string) error { return os.Remove(filepath.Join(at, "d/f")) }, "d/", "d/", "d/ d/f=x"},
		{"rmdir", func(at string) error { return os.Remove(filepath.Join(at, "d")) }, "", "", "d/ d/f=x"},
		{"again under the same name", func(at string) error { return os.Mkdir(filepath.Join(at, "d"), 0o700) }, "d/", "d/", "d/ d/f=x"},
		{"fsync above it, again", sync, "d/", "d/", "d/"},
		{"rename of the directory", func(at string) error { return os.Rename(filepath.Join(at, "d"), filepath.Join(at, "e")) }, "e/", "e/", "d/"},
		{"rmdir of it", func(at string) error { return os.Remove(filepath.Join(at, "e")) }, "", "", "d/"},
		{"fsync after it", sync, "", "", ""},
		{"a file", func(at string) error { return os.WriteFile(filepath.Join(at, "f"), []byte("y"), 0o600) }, "f=y", "f=", ""},
		{"a second name of it", func(at string) error { return os.Link(filepath.Join(at, "f"), filepath.Join(at, "g")) }, "f=y g=y", "f= g=", ""},
		{"fsync of both names", sync, "f=y g=y", "f= g=", "f= g="},
		{"unlink of the first", func(at string) error { return os.Remove(filepath.Join(at, "f")) }, "g=y", "g=", "f= g="},
		{"fsync by the second", func(at string) error { return sync(filepath.Join(at, "g")) }, "g=y", "g=y", "f=y g=y"},
	}
	c := powercut.NewDisk(t)
	at := c.Mount(t)
	for _, s := range steps {
		if err := s.do(at); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		for i, want := range []string{s.kept, s.dataLost, s.allLost} {
			end, dir := powercut.Ends()[i], t.TempDir()
			powercut.After(c.Changes(), end).Write(t, dir)
			if got := list(t, dir); got != want {
				t.Errorf("after %s, %s: got %q, want %q", s.name, end, got, want)
			}
		}
	}
}

func sync(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func list(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil || name == ".":
			return err
		case d.IsDir():
			all = append(all, name+"/")
			return nil
		}
		data, err := os.ReadFile(path)
		all = append(all, name+"="+string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}
