package debroot

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/fault"
)

// storeFile writes a package file as the store has it.
func storeFile(t *testing.T, control string, data []tar.Header) string {
	t.Helper()
	var out bytes.Buffer
	out.WriteString(arMagic)
	add := func(name string, content []byte) {
		out.WriteString(memberHeader(name, int64(len(content))))
		out.Write(content)
		if len(content)%2 == 1 {
			out.WriteByte('\n')
		}
	}
	pack := func(headers []tar.Header, text string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			if h.Typeflag == tar.TypeReg {
				h.Size = int64(len(text))
			}
			if h.ModTime.IsZero() {
				h.ModTime = time.Unix(1_700_000_000, 0)
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				if _, err := w.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	add(versionName, []byte("2.0\n"))
	add(controlName, pack([]tar.Header{{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "./control", Typeflag: tar.TypeReg, Mode: 0o644}}, control))
	add(dataName, pack(data, "text"))
	file := filepath.Join(t.TempDir(), "p.deb")
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestControl(t *testing.T) {
	const want = "Package: p\nVersion: 1\n"
	if got, err := control(storeFile(t, want, nil)); err != nil || got != want {
		t.Errorf("want %q, got %q, %v", want, got, err)
	}
	if _, err := control(storeFile(t, strings.Repeat("x", maxControl+1), nil)); fault.Of(err) != fault.Invalid {
		t.Errorf("too long: want invalid, got %v", err)
	}
	for name, text := range map[string]string{"empty": "", "text": "no package", "cut": arMagic + memberHeader(versionName, 4), "size": arMagic + strings.Replace(memberHeader("x", 11), "11 ", "-1 ", 1)} {
		file := filepath.Join(t.TempDir(), "p.deb")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := control(file); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: want invalid, got %v", name, err)
		}
	}
}

func TestSeed(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	file := storeFile(t, "", []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./usr/bin/", Typeflag: tar.TypeDir, Mode: 0o2755},
		{Name: "./bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
		{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o700}, // the link stays
		{Name: "./bin/su", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: os.Getuid(), Gid: os.Getgid()},
		{Name: "./usr/bin/su", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: os.Getuid(), Gid: os.Getgid()}, // replaces
		{Name: "./usr/bin/link", Typeflag: tar.TypeLink, Linkname: "./usr/bin/su"},
	})
	if err := seed(t.Context(), root, []string{file}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"bin": os.ModeSymlink | 0o777, "usr/bin": os.ModeDir | os.ModeSetgid | 0o755, "usr/bin/su": os.ModeSetuid | 0o755, "usr/bin/link": os.ModeSetuid | 0o755} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want || info.ModTime().Unix() != 1_700_000_000 {
			t.Errorf("%s: want %v of 2023, got %v, %v", name, want, info, err)
		}
	}
}

// No member of a package reaches a place outside of the root.
func TestSeedStaysInside(t *testing.T) {
	for name, data := range map[string][]tar.Header{
		"up":            {{Name: "./../out", Typeflag: tar.TypeReg, Mode: 0o644}},
		"absolute":      {{Name: "/out", Typeflag: tar.TypeReg, Mode: 0o644}},
		"link":          {{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "./l/out", Typeflag: tar.TypeReg, Mode: 0o644}},
		"absolute link": {{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: "OUT"}, {Name: "./l/out", Typeflag: tar.TypeReg, Mode: 0o644}},
		"directory":     {{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "./l/out", Typeflag: tar.TypeDir, Mode: 0o755}},
		"hard link":     {{Name: "./h", Typeflag: tar.TypeLink, Linkname: "../secret"}},
		"by a link":     {{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: ".."}, {Name: "./h", Typeflag: tar.TypeLink, Linkname: "l/secret"}},
		"device":        {{Name: "./d", Typeflag: tar.TypeBlock, Mode: 0o644, Devmajor: 8}},
		"fifo":          {{Name: "./f", Typeflag: tar.TypeFifo, Mode: 0o644}},
	} {
		above := t.TempDir()
		for i := range data {
			data[i].Linkname = strings.ReplaceAll(data[i].Linkname, "OUT", above)
		}
		if err := os.WriteFile(filepath.Join(above, "secret"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(above, "root")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := seed(t.Context(), root, []string{storeFile(t, "", data)}); err == nil {
			t.Errorf("%s: want refused", name)
		}
		_ = root.Close()
		if entries, err := os.ReadDir(above); err != nil || len(entries) != 2 {
			t.Errorf("%s: outside of the root: %v, %v", name, entries, err)
		}
	}
}

// An essential package that changes how apt installs the others cannot be installed beside them by a plan that apt has made before.
func TestSeedRefusesSettingsOfApt(t *testing.T) {
	for name, refused := range map[string]bool{
		"./etc/apt/apt.conf": true, "./etc/apt/apt.conf.d/50hook": true, "etc/apt/preferences.d/pin": true, "./etc/apt/preferences": true,
		"./etc/apt/sources.list.d/own.sources": false, "./usr/share/etc/apt/apt.conf": false,
		"./etc/apt/apt.conf.d/70debconf": false,
	} {
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		err = seed(t.Context(), root, []string{storeFile(t, "", []tar.Header{{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}})})
		if refused != (fault.Of(err) == fault.Invalid && strings.Contains(fault.HintOf(err), "engine: mmdebstrap")) || !refused && err != nil {
			t.Errorf("%s: want refused %v, got %v (hint %q)", name, refused, err, fault.HintOf(err))
		}
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	}
}
