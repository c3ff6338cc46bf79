package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// layOut makes files below dir; a name that ends with a slash is a directory.
func layOut(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	err := os.MkdirAll(dir, 0o755)
	for name, text := range files {
		if strings.HasSuffix(name, "/") {
			err = errors.Join(err, os.MkdirAll(filepath.Join(dir, name), 0o755))
			continue
		}
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What the release would replace is a release, or nothing: a mistyped -out removes no work.
func TestOutThatIsNotARelease(t *testing.T) {
	const line = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  old.deb\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // "": it is replaced
	}{
		{"empty", nil, ""},
		{"an older release", map[string]string{"old.deb": "", "SHA256SUMS": line, "SHA256SUMS.minisig": "x"}, ""},
		{"a file and no digests", map[string]string{"thesis.tex": "x"}, "it is not empty and has no SHA256SUMS"},
		{"a file that the digests do not name", map[string]string{"old.deb": "", "SHA256SUMS": line, "thesis.tex": "x"}, `does not name "thesis.tex"`},
		{"a directory beside a release", map[string]string{"old.deb": "", "SHA256SUMS": line, "src/": ""}, `does not name "src"`},
		{"a directory that the digests name", map[string]string{"old.deb/": "", "SHA256SUMS": line}, `does not name "old.deb"`},
		{"a hidden file alone", map[string]string{".git": "x"}, "has no SHA256SUMS"},
		{"digests that are a directory", map[string]string{"SHA256SUMS/": ""}, "want a regular file"},
		{"digests without an end", map[string]string{"SHA256SUMS": strings.Repeat("x", maxSums+1)}, "want a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			work := t.TempDir()
			out, finished := filepath.Join(work, "out"), filepath.Join(work, "finished")
			layOut(t, out, c.files)
			layOut(t, finished, map[string]string{"SHA256SUMS": "new"})
			err := replace(finished, out, filepath.Join(work, "old"))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				for name := range c.files {
					if _, err := os.Stat(filepath.Join(out, name)); err != nil {
						t.Errorf("%s is gone: %v", name, err)
					}
				}
				return
			}
			entries, readErr := os.ReadDir(out)
			if err != nil || readErr != nil || len(entries) != 1 {
				t.Errorf("got %v, %v, %v, want the new file alone", err, readErr, entries)
			}
		})
	}
}

// A release is refused before anything is made for it, and says so also for a file and a link.
func TestReleaseLooksAtOutFirst(t *testing.T) {
	dir := t.TempDir()
	layOut(t, filepath.Join(dir, "home"), map[string]string{"letter": "x"})
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "file"), nil, 0o644), os.Symlink("home", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"home", "file", "link"} {
		o := testOptions(t, "-programs", filepath.Join(dir, "none"), "-out", filepath.Join(dir, out))
		if err := release(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is not a release") {
			t.Errorf("%s: got %v", out, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("got %v, %v, want the three of before", entries, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "home/letter")); err != nil {
		t.Error(err)
	}
}

func TestMaintainer(t *testing.T) {
	for text, isGood := range map[string]bool{
		defaultMaintainer: true, "Jane Doe <jane@example.org>": true, "Miles O'Brien <miles@example.org>": true,
		"": false, "Jane Doe": false, "jane@example.org": false, "<jane@example.org>": false, "Jane <jane@example.org>\nDepends: evil": false,
		"Jane\nX: y <jane@example.org>": false, "Jane <jane@example.org>, Joe <joe@example.org>": false, "Jane <jane>": false,
	} {
		_, err := parse([]string{"-version", "v1.2.3", "-epoch", "1700000000", "-maintainer", text})
		if (err == nil) != isGood {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
