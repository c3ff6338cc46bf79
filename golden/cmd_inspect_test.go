package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/contents"
	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// writeArchive makes a small archive whose one file has this content.
func writeArchive(t *testing.T, path, content string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range [][2]string{{"./etc/vzdump/pct.conf", "arch: amd64\n"}, {"./etc/motd", content}} {
		if err := w.WriteHeader(&tar.Header{Name: m[0], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(m[1])), Format: tar.FormatPAX}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeOwn makes an archive in the form that pack writes, with a table of contents that
// claims a package.
func writeOwn(t *testing.T, path string) {
	t.Helper()
	table, err := contents.Contents{Packages: []image.Package{{Name: "claimed", Version: "1", Arch: "all"}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	f, err := vzdump.NewFrame(&b, vzdump.Fast, time.Unix(1700000000, 0), vzdump.NewMembers())
	if err != nil {
		t.Fatal(err)
	}
	err = f.AddConfig([]byte("arch: amd64\n"))
	for _, dir := range []string{".", "etc", "etc/felhom"} {
		err = errors.Join(err, f.Add(&vzdump.Entry{Path: dir, Type: vzdump.Dir, Mode: 0o755}, nil))
	}
	e := vzdump.Entry{Path: contents.Path, Type: vzdump.File, Mode: 0o644, Size: int64(len(table))}
	if err := errors.Join(err, f.Add(&e, bytes.NewReader(table)), f.Finish(), os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func TestInspectCommand(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "a.tar"), filepath.Join(dir, "bad.tar")
	writeArchive(t, good, "one\n")
	own, cut := filepath.Join(dir, "own.tar.zst"), filepath.Join(dir, "cut.tar.zst")
	writeOwn(t, own)
	data, err := os.ReadFile(own)
	if err == nil {
		err = os.WriteFile(cut, data[:len(data)-5], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stdout string // substring; "" means nothing at all
		stderr string
	}{
		{"text", []string{good}, 0, "arch: amd64", ""},
		{"sizes for people", []string{good}, 0, "size      3.0 KiB packed, 16 B of content\n", ""},
		{"long lists last", []string{good}, 0, "\nunits (0)\n\npackages (0)\n", ""},
		{"json", []string{good, "--json"}, 0, `"archive": "a.tar"`, ""},
		{"config", []string{"--config", good}, 0, "arch: amd64\n", ""},
		{"table of contents", []string{own}, 0, "\nsource    the archive's own table of contents; its files were not read", ""},
		{"what the table claims", []string{own, "--json"}, 0, `"name": "claimed"`, ""},
		{"whole archive", []string{own, "--full", "--json"}, 0, `"source": "members"`, ""},
		{"whole archive, as text", []string{own, "--full"}, 0, "entries   directory 3 file 2\n\nconfiguration", ""},
		{"a table in an archive that was cut short", []string{cut}, 3, "", "archive is truncated"},
		{"whole archive and no further", []string{"--full", "--config", good}, 2, "", "give one of the two"},
		{"no archive", nil, 2, "", "missing argument ARCHIVE"},
		{"two forms", []string{"--json", "--config", good}, 2, "", "give one of the two"},
		{"missing file", []string{filepath.Join(dir, "none")}, 3, "", "no such file"},
		{"unreadable", []string{bad}, 3, "", "inspect bad.tar"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{program, "inspect"}, tt.args...), nil, &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) || tt.stdout == "" && stdout.Len() > 0 {
				t.Errorf("code %d, stdout %q, stderr %q; want %d, %q, %q", code, stdout.String(), stderr.String(), tt.code, tt.stdout, tt.stderr)
			}
		})
	}
}
