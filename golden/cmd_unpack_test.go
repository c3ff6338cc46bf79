package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/isolate"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func TestUnpackRefuses(t *testing.T) {
	dir, empty := t.TempDir(), t.TempDir()
	junk := filepath.Join(dir, "junk.tar.zst")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"arguments", []string{junk}, 2, "missing argument DIRECTORY"},
		{"archive missing", []string{"/nowhere", filepath.Join(dir, "a")}, 2, "/nowhere"},
		{"id map", []string{junk, filepath.Join(dir, "a"), "--idmap", "z"}, 2, "b:0:100000:65536"},
		{"directory not empty", []string{junk, dir}, 2, "is not empty"},
		{"current directory", []string{junk, "."}, 2, "the current one"},
		{"no name of a directory", []string{junk, ""}, 2, "the current one"},
		{"configuration over the archive", []string{"--config", junk, junk, filepath.Join(dir, "a")}, 2, "is the archive"},
		{"configuration without a directory", []string{"--config", filepath.Join(dir, "none/x"), junk, filepath.Join(dir, "a")}, 2, "no such file"},
		{"configuration in what is unpacked", []string{"--config", filepath.Join(dir, "a/x"), junk, filepath.Join(dir, "a")}, 2, "no such file"},
		{"configuration in the place of what is unpacked", []string{"--config", filepath.Join(dir, "a"), junk, filepath.Join(dir, "a")}, 2, "in the place of the directory"},
		{"configuration in an empty directory", []string{"--config", filepath.Join(empty, "x"), junk, empty}, 2, "in the place of the directory"},
		{"no archive", []string{junk, filepath.Join(dir, "a")}, 3, "unpack "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, talk := call(t, append([]string{"unpack"}, tt.args...)...)
			if code != tt.code || out != "" || !strings.Contains(talk, tt.want) {
				t.Errorf("code %d (want %d), stdout %q, stderr %q; want %q", code, tt.code, out, talk, tt.want)
			}
			left, err := os.ReadDir(dir)
			if err != nil || len(left) != 1 {
				t.Errorf("left behind: %v %v", left, err)
			}
			if data, err := os.ReadFile(junk); string(data) != "junk" {
				t.Errorf("the archive has become %q, %v", data, err)
			}
		})
	}
}

// An archive that the shell opens is not overwritten either.
func TestUnpackConfigOverStdin(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "a.tar")
	writeArchive(t, archive, "one\n")
	want, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	code, out, talk := callTimed(t.Context(), t, f, "unpack", "--config", archive, "-", filepath.Join(dir, "guest"))
	if code != 2 || out != "" || !strings.Contains(talk, "is the archive") {
		t.Errorf("code %d, stdout %q, stderr %q", code, out, talk)
	}
	if got, err := os.ReadFile(archive); !bytes.Equal(got, want) {
		t.Errorf("the archive has become %q, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestUnpackIntoSmallFileSystem: what does not fit is refused before anything
// is written, and from a pipe without a trace.
func TestUnpackIntoSmallFileSystem(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	archive := filepath.Join(t.TempDir(), "vzdump-lxc-9100-2026_11_21-09_15_44.tar")
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	conf := "arch: amd64\n"
	for _, m := range []struct {
		name, data string
	}{{"./" + vzdump.ConfigPath, conf}, {"./small", "x"}, {"./large", strings.Repeat("x", 3<<20)}} {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Size: int64(len(m.data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(archive, buf.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,nr_inodes=100"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	for _, tt := range []struct {
		name, arg, want string
		stdin           []byte
	}{
		{"file", archive, "the archive needs 3.0 MiB, and 2.0 MiB are free", nil},
		{"pipe", "-", `member "./large": it needs 3.0 MiB, and`, buf.Bytes()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, talk bytes.Buffer
			code := run(t.Context(), []string{program, "unpack", tt.arg, filepath.Join(dir, "guest")}, bytes.NewReader(tt.stdin), &out, &talk)
			if code != 1 || out.Len() != 0 || !strings.Contains(talk.String(), tt.want) || !strings.Contains(talk.String(), "hint: free space below "+dir) {
				t.Errorf("code %d, stdout %q, stderr %q; want %q", code, out.String(), talk.String(), tt.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}
