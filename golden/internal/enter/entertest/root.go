// Package entertest makes small roots for tests of what runs inside a root: a
// few programs of this machine with their libraries, and the directories that every
// root has. Only tests import it.
package entertest

import (
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Root makes a root with /bin/sh and the named programs.
func Root(t testing.TB, programs ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp", "etc", "root", "usr/sbin", "usr/bin"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(t, os.Chmod(filepath.Join(root, "tmp"), 0o777|fs.ModeSticky))
	must(t, os.Symlink("usr/bin", filepath.Join(root, "bin")))
	for _, name := range append([]string{"sh"}, programs...) {
		path, err := filepath.EvalSymlinks(find(name))
		must(t, err)
		install(t, root, path, filepath.Join("/usr/bin", name))
	}
	return root
}

func install(t testing.TB, root, from, to string) {
	t.Helper()
	dst := filepath.Join(root, to)
	if _, err := os.Stat(dst); err == nil {
		return
	}
	must(t, os.MkdirAll(filepath.Dir(dst), 0o755))
	must(t, copyFile(from, dst))
	f, err := elf.Open(from)
	if err != nil {
		return // a script
	}
	defer func() { must(t, f.Close()) }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			interp, err := io.ReadAll(p.Open())
			must(t, err)
			name := strings.TrimRight(string(interp), "\x00")
			install(t, root, name, name)
		}
	}
	libs, err := f.ImportedLibraries()
	must(t, err)
	for _, lib := range libs {
		from := library(lib)
		if from == "" {
			t.Fatalf("library %s of %s: not found", lib, to)
		}
		install(t, root, from, from)
	}
}

// find returns a program's path, or the name itself if no directory has it.
func find(name string) string {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return filepath.Join(dir, name)
		}
	}
	return name
}

func library(name string) string {
	for _, pattern := range []string{"/lib/*-linux-gnu*/", "/usr/lib/*-linux-gnu*/", "/lib64/", "/usr/lib64/", "/lib/", "/usr/lib/"} {
		found, _ := filepath.Glob(pattern + name) // the patterns are right
		if len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
