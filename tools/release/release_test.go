package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"aead.dev/minisign"
)

// TestMain works in the repository's root, as the program does.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// testPrograms are small static programs under the names of the real ones.
func testPrograms(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, arch := range architectures {
		source := filepath.Join(dir, "main.go")
		if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		first := filepath.Join(dir, programs[0]+"-linux-"+arch)
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", first, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(first)
		for _, p := range programs[1:] {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, p+"-linux-"+arch), data, 0o755))
		}
		if err := errors.Join(err, os.Remove(source)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func testOptions(t *testing.T, args ...string) options {
	t.Helper()
	o, err := parse(append([]string{"-version", "v1.2.3", "-epoch", "1700000000", "-out", filepath.Join(t.TempDir(), "out")}, args...))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRelease(t *testing.T) {
	dir := testPrograms(t)
	files := map[string][]byte{}
	var names []string
	for range 2 {
		const maintainer = "Miles O'Brien <miles@example.org>"
		o := testOptions(t, "-programs", dir, "-maintainer", maintainer)
		if err := release(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for _, deb := range debs {
			field, err := exec.CommandContext(t.Context(), "dpkg-deb", "--field", filepath.Join(o.out, deb+"_1.2.3_arm64.deb"), "Maintainer").Output()
			if got := strings.TrimSpace(string(field)); err != nil || got != maintainer {
				t.Errorf("%s: maintainer %q, %v", deb, got, err)
			}
		}
		entries, err := os.ReadDir(o.out)
		if err != nil {
			t.Fatal(err)
		}
		names = names[:0]
		for _, e := range entries {
			data, err := os.ReadFile(filepath.Join(o.out, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if before, ok := files[e.Name()]; ok && !bytes.Equal(before, data) {
				t.Errorf("%s differs from the one of the first run", e.Name())
			}
			files[e.Name()] = data
			names = append(names, e.Name())
		}
		check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", sums)
		check.Dir = o.out
		if out, err := check.CombinedOutput(); err != nil || strings.Count(string(out), "OK") != len(names)-1 {
			t.Errorf("sha256sum --check: %v\n%s", err, out)
		}
	}
	want := []string{
		"SHA256SUMS", "felhom-agentd_1.2.3_amd64.deb", "felhom-agentd_1.2.3_arm64.deb", "felhom-golden_1.2.3_amd64.deb",
		"felhom-golden_1.2.3_arm64.deb", "felhom_1.2.3.cdx.json", "felhom_1.2.3_linux_amd64.tar.gz", "felhom_1.2.3_linux_arm64.tar.gz",
	}
	if !slices.Equal(names, want) {
		t.Errorf("files: got %q, want %q", names, want)
	}
	if len(files) != len(want) {
		t.Errorf("the two runs have different files")
	}
	wantTarball(t, files["felhom_1.2.3_linux_arm64.tar.gz"])
}

func wantTarball(t *testing.T, data []byte) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]int64{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(h.Name, "felhom-1.2.3-linux-arm64/") || h.Uid != 0 || h.Uname != "" || h.ModTime.Unix() != 1700000000 {
			t.Errorf("member %+v", h)
		}
		modes[strings.TrimPrefix(h.Name, "felhom-1.2.3-linux-arm64/")] = h.Mode
	}
	for name, mode := range map[string]int64{
		"felhom-agentd": 0o755, "felhom-golden": 0o755, "felhom-controller-bootstrap": 0o755, "LICENSE": 0o644,
		"docs/man/felhom-agentd.8": 0o644, "systemd/felhom-agentd.service": 0o644,
	} {
		if modes[name] != mode {
			t.Errorf("%s: mode %04o, want %04o", name, modes[name], mode)
		}
	}
}

// What is wrong ends the run, and leaves an older release as it is.
func TestRefused(t *testing.T) {
	dir := testPrograms(t)
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
		want  string
	}{
		{"missing", func(dir string) error { return os.Remove(filepath.Join(dir, "felhom-golden-linux-arm64")) }, "make build"},
		{"other architecture", func(dir string) error {
			return os.Rename(filepath.Join(dir, "felhom-golden-linux-arm64"), filepath.Join(dir, "felhom-golden-linux-amd64"))
		}, "want a static program for amd64"},
		{"dynamic", func(dir string) error {
			data, err := os.ReadFile("/bin/ls")
			return errors.Join(err, os.WriteFile(filepath.Join(dir, "felhom-agentd-linux-amd64"), data, 0o755))
		}, "want a static program"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spoilt := t.TempDir()
			if err := os.CopyFS(spoilt, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := tt.spoil(spoilt); err != nil {
				t.Fatal(err)
			}
			o := testOptions(t, "-programs", spoilt)
			if err := os.Mkdir(o.out, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := release(t.Context(), o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if left, err := os.ReadDir(filepath.Dir(o.out)); err != nil || len(left) != 1 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := release(ctx, testOptions(t, "-programs", dir)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSign(t *testing.T) {
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	plain, err := private.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	locked, err := minisign.EncryptKey("correct horse", private)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"plain": plain, "locked": locked, "password": []byte("correct horse\n"), "wrong": []byte("x\n"), "text": []byte("x")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	text := []byte("digest  file\n")
	for _, args := range [][]string{{"-key", at("plain")}, {"-key", at("locked"), "-password-file", at("password")}} {
		signature, err := sign(text, testOptions(t, args...))
		if err != nil {
			t.Fatal(err)
		}
		verified := minisign.NewReader(bytes.NewReader(text))
		if _, err := io.Copy(io.Discard, verified); err != nil {
			t.Fatal(err)
		}
		if !verified.Verify(public, signature) {
			t.Errorf("%v: not verified:\n%s", args, signature)
		}
		if again, err := sign(text, testOptions(t, args...)); err != nil || !bytes.Equal(again, signature) {
			t.Errorf("%v: the second signature differs: %v", args, err)
		}
	}
	for _, args := range [][]string{
		{"-key", at("locked")}, {"-key", at("locked"), "-password-file", at("wrong")}, {"-key", at("none")}, {"-key", at("text")},
	} {
		if _, err := sign(text, testOptions(t, args...)); err == nil {
			t.Errorf("%v: signed", args)
		} else if strings.Contains(err.Error(), "correct horse") {
			t.Errorf("%v: the message has the password: %v", args, err)
		}
	}
	if err := os.Chmod(at("plain"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := sign(text, testOptions(t, "-key", at("plain"))); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
}

func TestChangelog(t *testing.T) {
	text := "# Changes\n\n## Unreleased\n\n- one\n  more\n- two\n\n## 1.2.2\n\n- old\n"
	for version, want := range map[string][]string{"1.2.3": {"one more", "two"}, "1.2.2": {"old"}} {
		if got := section(text, version); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", version, got, want)
		}
	}
	entry, err := debianChangelog("felhom-agentd", text, "A <a@b.example>", testOptions(t))
	want := "felhom-agentd (1.2.3) unstable; urgency=medium\n\n  * one more\n  * two\n\n -- A <a@b.example>  Tue, 14 Nov 2023 22:13:20 +0000\n"
	if err != nil || string(entry) != want {
		t.Errorf("got %s, %v, want %s", entry, err, want)
	}
	if _, err := debianChangelog("x", "# Changes\n", "A", testOptions(t)); err == nil {
		t.Error("an empty changelog was taken")
	}
}
