package atomicfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/felhom/felhom-golden/internal/atomicfile"
)

func openRoot(t *testing.T) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, dir
}

func assertOnly(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("want %v in the directory, got %v", want, got)
	}
}

func TestWriteSetsExactModeAndOwner(t *testing.T) {
	root, dir := openRoot(t)
	defer syscall.Umask(syscall.Umask(0o077))
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(root, "sub/f", []byte("x"), atomicfile.Attr{Mode: 0o644, Chown: true, UID: 100000, GID: 100001}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "sub/f"))
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if info.Mode() != 0o644 || st.Uid != 100000 || st.Gid != 100001 {
		t.Errorf("mode %v owner %d:%d, want 0644 100000:100001", info.Mode(), st.Uid, st.Gid)
	}
	assertOnly(t, filepath.Join(dir, "sub"), "f")
}

func TestWriteReplacesASymlinkNotItsTarget(t *testing.T) {
	root, dir := openRoot(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("host"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(root, "f", []byte("guest"), atomicfile.Attr{Mode: 0o640}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "host" {
		t.Errorf("victim holds %q, %v: the link was followed", got, err)
	}
	if info, err := os.Lstat(filepath.Join(dir, "f")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("target is %v, %v, want a regular file", info.Mode(), err)
	}
}

func TestWriteFromKeepsTheOldFileOnError(t *testing.T) {
	root, dir := openRoot(t)
	if err := atomicfile.Write(root, "f", []byte("old"), atomicfile.Attr{Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	broken := io.MultiReader(strings.NewReader("part"), iotest.ErrReader(syscall.ENOSPC))
	err := atomicfile.WriteFrom(root, "f", broken, atomicfile.Attr{Mode: 0o600})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v, want ENOSPC", err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "f")); string(got) != "old" {
		t.Errorf("file holds %q, want old", got)
	}
	assertOnly(t, dir, "f")
}

func TestWriteOntoADirectoryLeavesNothingBehind(t *testing.T) {
	root, dir := openRoot(t)
	if err := os.MkdirAll(filepath.Join(dir, "d/kept"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(root, "d", []byte("x"), atomicfile.Attr{Mode: 0o600}); err == nil {
		t.Error("a directory was replaced by a file")
	}
	assertOnly(t, dir, "d")
}

func TestWriteIntoAMissingDirectory(t *testing.T) {
	root, _ := openRoot(t)
	err := atomicfile.Write(root, "none/f", nil, atomicfile.Attr{Mode: 0o600})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none/f") {
		t.Errorf("error %v, want ErrNotExist naming the file", err)
	}
}

func TestWriteIfChanged(t *testing.T) {
	root, dir := openRoot(t)
	attr := atomicfile.Attr{Mode: 0o600, Chown: true, UID: os.Getuid(), GID: os.Getgid()}
	steps := []struct {
		name   string
		before func() error
		data   string
		want   bool
	}{
		{name: "first", data: "a", want: true},
		{name: "same", data: "a", want: false},
		{name: "other content of the same size", data: "b", want: true},
		{name: "mode was changed", before: func() error { return os.Chmod(filepath.Join(dir, "f"), 0o644) }, data: "b", want: true},
		{name: "owner was changed", before: func() error { return os.Chown(filepath.Join(dir, "f"), 1, 1) }, data: "b", want: true},
		{name: "same again", data: "b", want: false},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			if s.before != nil {
				if err := s.before(); err != nil {
					t.Fatal(err)
				}
			}
			got, err := atomicfile.WriteIfChanged(root, "f", []byte(s.data), attr)
			if err != nil || got != s.want {
				t.Errorf("changed %v, %v, want %v", got, err, s.want)
			}
			if data, _ := os.ReadFile(filepath.Join(dir, "f")); string(data) != s.data {
				t.Errorf("file holds %q, want %q", data, s.data)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	root, dir := openRoot(t)
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", "sub/f"} {
		if err := atomicfile.Write(root, name, nil, atomicfile.Attr{Mode: 0o600}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it is safe to repeat
			if err := atomicfile.Remove(root, name); err != nil {
				t.Error(err)
			}
		}
	}
	assertOnly(t, dir, "sub")
	assertOnly(t, filepath.Join(dir, "sub"))
	if err := atomicfile.Write(root, "sub/g", nil, atomicfile.Attr{Mode: 0o600}); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Remove(root, "sub"); err == nil {
		t.Error("a directory with a file in it was removed")
	}
}
