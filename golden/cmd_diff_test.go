package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDiffCommand(t *testing.T) {
	dir := t.TempDir()
	one, same, other, bad := filepath.Join(dir, "1.tar"), filepath.Join(dir, "same.tar"), filepath.Join(dir, "2.tar"), filepath.Join(dir, "bad.tar")
	writeArchive(t, one, "one\n")
	writeArchive(t, same, "one\n")
	writeArchive(t, other, "two\n")
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
		{"same", []string{one, same}, 0, "", ""},
		{"same as json", []string{one, same, "--json"}, 0, `"same": true`, ""},
		{"differ", []string{one, other}, 1, "~ file /etc/motd sha256: ", "the archives differ"},
		{"differ as json", []string{"--json", one, other}, 1, `"same": false`, "the archives differ"},
		{"one archive", []string{one}, 2, "", "missing argument B"},
		{"stdin twice", []string{"-", "-"}, 2, "", "stdin given twice"},
		{"missing file", []string{one, filepath.Join(dir, "none")}, 2, "", "no such file"},
		{"unreadable", []string{one, bad}, 3, "", "inspect bad.tar"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{program, "diff"}, tt.args...), nil, &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) || tt.stdout == "" && stdout.Len() > 0 {
				t.Errorf("code %d, stdout %q, stderr %q; want %d, %q, %q", code, stdout.String(), stderr.String(), tt.code, tt.stdout, tt.stderr)
			}
		})
	}
}
