package cachedir_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/internal/isolate"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *cachedir.Dir {
	t.Helper()
	d, err := cachedir.Open(path)
	must(t, err)
	return d
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// TestShare: whatever the file system does, the content is there under its name, and
// nothing else is. The second file system has no blocks or names to share.
func TestShare(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	dir := filepath.Join(t.TempDir(), "cache")
	d := open(t, dir)
	other := t.TempDir()
	must(t, unix.Mount("tmpfs", other, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { must(t, unix.Unmount(other, 0)) })
	for _, from := range []string{t.TempDir(), other} {
		file := filepath.Join(from, "file")
		must(t, os.WriteFile(file, []byte(from), 0o644))
		for range 2 { // it replaces
			must(t, d.Share("a.zst", file))
		}
		if got, err := os.ReadFile(d.Path("a.zst")); err != nil || string(got) != from {
			t.Errorf("want %q, got %q, %v", from, got, err)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"a.zst"}) {
			t.Errorf("want the file alone, got %v", got)
		}
	}
	if err := d.Share("b.zst", filepath.Join(other, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that does not exist: %v", err)
	}
	must(t, d.Close())
}

// TestOpen: what is temporary is removed if no other build has the directory
// open, and stays while one has.
func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	first := open(t, dir)
	must(t, os.Mkdir(filepath.Join(dir, ".tmp-a"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, ".tmp-a", "x"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "a.tmp"), nil, 0o600))
	must(t, open(t, dir).Close())
	if got := names(t, dir); !slices.Equal(got, []string{".tmp-a", "a.tmp"}) {
		t.Errorf("while another build has it open: %v", got)
	}
	must(t, first.Close())
	must(t, open(t, dir).Close())
	if got := names(t, dir); !slices.Equal(got, []string{"a.tmp"}) {
		t.Errorf("when no other build has it open: %v", got)
	}
}

// TestPublish: a name appears with all that is in it, and not after an error.
func TestPublish(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	boom := errors.New("boom")
	for _, text := range []string{"old", "new"} {
		must(t, d.WriteFile("f", func(w io.Writer) error {
			if _, err := os.Stat(d.Path("f")); (err == nil) != (text == "new") {
				t.Errorf("%s: f before it is published: %v", text, err)
			}
			_, err := io.WriteString(w, text)
			return err
		}))
		must(t, d.MakeDir("d", func(tmp string) error { return os.WriteFile(filepath.Join(tmp, text), nil, 0o600) }))
	}
	err := d.WriteFile("f", func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("x", 1<<20))
		return errors.Join(err, boom)
	})
	if !errors.Is(err, boom) {
		t.Errorf("want boom, got %v", err)
	}
	if err := d.MakeDir("d", func(string) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("want boom, got %v", err)
	}
	if err := d.Scratch(func(tmp string) error { return errors.Join(os.WriteFile(filepath.Join(tmp, "x"), nil, 0o600), boom) }); !errors.Is(err, boom) {
		t.Errorf("want boom, got %v", err)
	}
	if data, err := os.ReadFile(d.Path("f")); err != nil || string(data) != "new" {
		t.Errorf("f: %q %v", data, err)
	}
	if got := names(t, d.Path("d")); !slices.Equal(got, []string{"new"}) {
		t.Errorf("d: %v", got)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"d", "f"}) {
		t.Errorf("left behind: %v", got)
	}
	must(t, d.Close())
}

func TestTrim(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	for i := range 5 {
		for j, suffix := range []string{".frame", ".json"} {
			name := fmt.Sprintf("%c%s", 'a'+i, suffix)
			must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
			at := time.Unix(int64(100*i+10*j), 0)
			must(t, os.Chtimes(filepath.Join(dir, name), at, at))
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, ".tmp-x"), nil, 0o600))
	d.Used("a.json")
	var removed []string
	must(t, d.Trim(2, func(name string) error {
		removed = append(removed, name)
		return os.ErrNotExist // another build was quicker
	}))
	if want := []string{"b.frame", "b.json", "c.frame", "c.json", "d.frame", "d.json"}; !slices.Equal(removed, want) {
		t.Errorf("removed %v, want %v", removed, want)
	}
	if err := d.Trim(2, func(string) error { return os.ErrPermission }); !errors.Is(err, os.ErrPermission) {
		t.Errorf("want an error, got %v", err)
	}
	must(t, d.Close())
}

func Example() {
	parent, err := os.MkdirTemp("", "cachedir-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(parent) }()
	d, err := cachedir.Open(filepath.Join(parent, "images"))
	if err != nil {
		fmt.Println(err)
		return
	}
	err = d.WriteFile("app.tar", func(w io.Writer) error {
		_, err := io.WriteString(w, "content")
		return err
	})
	fmt.Println(err, d.Close())
	// Output: <nil> <nil>
}
