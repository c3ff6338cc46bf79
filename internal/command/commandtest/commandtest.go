// Package commandtest compares the files that are written from a program's
// command line with the committed ones. Call [Documents] in a test of the main
// package, which alone knows the command line.
package commandtest

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Documents compares the files that write returns with those below root, the
// repository's. write gets the rest of the manual page: EXIT STATUS, from
// docs/exit-codes.md, and the part that is written by hand,
// docs/man/sections/NAME. With update, the files are written instead.
func Documents(t *testing.T, root string, update bool, write func(more string) map[string]string) {
	t.Helper()
	var page string
	for name := range write("") {
		if strings.HasPrefix(name, "docs/man/") {
			page = name
		}
	}
	more, err := os.ReadFile(filepath.Join(root, "docs/man/sections", path.Base(page)))
	if err != nil {
		t.Fatal(err)
	}
	codes, err := os.ReadFile(filepath.Join(root, "docs/exit-codes.md"))
	if err != nil {
		t.Fatal(err)
	}
	status, err := exitStatus(string(codes))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range write(status + string(more)) {
		file := filepath.Join(root, filepath.FromSlash(name))
		if update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v: make docs writes it", err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s is not up to date, make docs writes it (-want +got):\n%s", name, diff)
		}
	}
}
