package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerifyAndSealCommands(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst")
	sum := archive + ".sha256"
	if err := os.WriteFile(archive, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		args    []string
		sidecar string
		code    int
		stdout  string // substring; "" means nothing at all
		stderr  string
	}{
		{"no archive", []string{"verify"}, "", 2, "", "missing argument ARCHIVE"},
		{"missing file", []string{"verify", filepath.Join(dir, "none")}, "", 3, "", "no such file"},
		{"two formats", []string{"verify", "--json", "--junit", archive}, "", 2, "", "give one of the two"},
		{"unknown rule", []string{"verify", "--skip", "x", archive}, "", 2, "", `unknown rule "x"`},
		{"unreadable", []string{"verify", archive}, "", 3, "", "verify vzdump-lxc"},
		{"bad sidecar", []string{"verify", archive}, "nonsense\n", 3, "", "64 hex digits"},
		{"sidecar that is not hexadecimal", []string{"verify", archive}, strings.Repeat("0", 63) + "g  x\n", 3, "", "64 hex digits"},
		{"sidecar of another length", []string{"verify", archive}, strings.Repeat("0", 63) + "  x\n", 3, "", "64 hex digits"},
		{"sidecar with a digest of letters of two bytes", []string{"verify", archive}, strings.Repeat("\u00e9", 32) + "  x\n", 3, "", "64 hex digits"},
		{"sidecar of another format", []string{"verify", archive}, "SHA256 (x) = " + strings.Repeat("0", 64) + "\n", 3, "", "64 hex digits"},
		{"sidecar in upper case", []string{"verify", archive}, strings.Repeat("A", 64) + "  x\n", 3, "", "verify vzdump-lxc"},
		{"empty hash", []string{"verify", "--sha256=", archive}, "", 2, "", "--sha256 is empty"},
		{"hash that is not hexadecimal", []string{"verify", "--sha256", strings.Repeat("0", 63) + "g", archive}, "", 2, "", "64 hex digits"},
		{"hash with its algorithm", []string{"verify", "--sha256", "sha256:" + strings.Repeat("0", 64), archive}, "", 2, "", "64 hex digits"},
		{"list", []string{"verify", "--list"}, "", 0, "preset-closure", ""},
		{"explain", []string{"verify", "--explain", "machine-id"}, "", 0, "why:    restore does not reset it", ""},
		{"explain unknown", []string{"verify", "--explain", "x"}, "", 2, "", "unknown rule"},
		{"seal without root", []string{"seal"}, "", 2, "", "missing argument ROOT"},
		{"seal no root", []string{"seal", dir}, "", 3, "", "hint: "},
		{"seal list", []string{"seal", "--list"}, "", 0, "host-name", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(sum, []byte(tt.sidecar), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.sidecar == "" {
				if err := os.Remove(sum); err != nil {
					t.Fatal(err)
				}
			}
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{program}, tt.args...), nil, &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) || tt.stdout == "" && stdout.Len() > 0 {
				t.Errorf("code %d, stdout %q, stderr %q; want %d, %q, %q", code, stdout.String(), stderr.String(), tt.code, tt.stdout, tt.stderr)
			}
		})
	}
}

// seal prints what it did, and nothing on the second run.
func TestSealCommandIsIdempotent(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"etc", "usr", "var"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	for i, want := range []string{"host-name: written \"/etc/hostname\"\n", ""} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), []string{program, "seal", root, "--hostname", "golden"}, nil, &stdout, &stderr)
		if code != 0 || !strings.Contains(stdout.String(), want) || i == 1 && stdout.Len() > 0 {
			t.Errorf("run %d: code %d, stdout %q, stderr %q; want 0 and %q", i+1, code, stdout.String(), stderr.String(), want)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{program, "seal", root}, nil, &stdout, &stderr); code != 2 {
		t.Errorf("bad SOURCE_DATE_EPOCH: code %d, stderr %q; want 2", code, stderr.String())
	}
}
