//go:build integration

package debroot

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/internal/fault"
)

// debFile has dpkg-deb make a package with this compression.
func debFile(t *testing.T, compression string) string {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	for name, text := range map[string]string{"DEBIAN/control": "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: m <m@example.org>\nDescription: d\n", "usr/share/p/odd": "x", "usr/share/p/large": strings.Repeat("text", 100_000)} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "p_1_all.deb")
	dpkgDeb(t, "--root-owner-group", "-Z"+compression, "--build", tree, file)
	return file
}

func dpkgDeb(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("dpkg-deb", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("dpkg-deb %v: %v", args, err)
	}
	return out
}

func newStore(t *testing.T) store {
	t.Helper()
	dir, err := cachedir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	return store{dir, os.Environ()}
}

// A package of the store is the package that was fetched, for dpkg and for this program.
func TestStoreKeepsThePackage(t *testing.T) {
	for _, compression := range []string{"none", "gzip", "xz", "zstd"} {
		file := debFile(t, compression)
		digest, err := fileSum(file, "SHA256")
		if err != nil {
			t.Fatal(err)
		}
		s, p := newStore(t), pkg{Name: "p", Version: "1", File: filepath.Base(file), SumType: "SHA256", Sum: digest}
		if missing, err := s.missing(t.Context(), []pkg{p}); err != nil || len(missing) != 1 {
			t.Errorf("%s: empty store: want it missing, got %v, %v", compression, missing, err)
		}
		if err := s.add(t.Context(), filepath.Dir(file), []pkg{p}); err != nil {
			t.Fatal(err)
		}
		if missing, err := s.missing(t.Context(), []pkg{p}); err != nil || len(missing) != 0 {
			t.Errorf("%s: want none missing, got %v, %v", compression, missing, err)
		}
		for _, flag := range []string{"--ctrl-tarfile", "--fsys-tarfile", "--field"} {
			if !bytes.Equal(dpkgDeb(t, flag, file), dpkgDeb(t, flag, s.path(p))) {
				t.Errorf("%s: dpkg-deb %s: want the same of both", compression, flag)
			}
		}
		if text, err := control(s.path(p)); err != nil || text != string(dpkgDeb(t, "--field", file)) {
			t.Errorf("%s: control file: got %q, %v", compression, text, err)
		}
	}
}

// Nothing of a file is unpacked that is not the one of the signed index, and nothing of it stays.
func TestStoreRefusesOtherFiles(t *testing.T) {
	file := debFile(t, "xz")
	digest, err := fileSum(file, "SHA256")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() []byte{
		"one bit":    func() []byte { d := bytes.Clone(data); d[len(d)/2] ^= 1; return d },
		"cut":        func() []byte { return data[:len(data)-1] },
		"more":       func() []byte { return append(bytes.Clone(data), 0) },
		"no package": func() []byte { return nil },
	} {
		s, p := newStore(t), pkg{Name: "p", Version: "1", File: "p.deb", SumType: "SHA256", Sum: digest}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, p.File), change(), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.add(t.Context(), dir, []pkg{p}); fault.Of(err) != fault.Mismatch || fault.HintOf(err) == "" {
			t.Errorf("%s: want mismatch with a hint, got %v", name, err)
		}
		if entries, err := os.ReadDir(s.dir.Path("")); err != nil || len(entries) != 0 {
			t.Errorf("%s: in the store: %v, %v", name, entries, err)
		}
	}
	// A file with the right digest that dpkg-deb cannot read.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.deb"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	digest, err = fileSum(filepath.Join(dir, "p.deb"), "SHA256")
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	if err := s.add(t.Context(), dir, []pkg{{Name: "p", File: "p.deb", SumType: "SHA256", Sum: digest}}); err == nil {
		t.Error("not a package: want an error")
	}
	if entries, err := os.ReadDir(s.dir.Path("")); err != nil || len(entries) != 0 {
		t.Errorf("not a package: in the store: %v, %v", entries, err)
	}
}
