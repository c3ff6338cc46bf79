package cachedir

import (
	"os"
	"path/filepath"
	"testing"
)

// TestHold: what is temporary goes when nobody holds the folder, and stays
// while somebody does.
func TestHold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	first, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	tmp, kept := filepath.Join(dir, Temporary+"a"), filepath.Join(dir, "a.tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(tmp, "x"), kept} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, want bool) {
		t.Helper()
		release, err := Hold(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(tmp); (err == nil) != want {
			t.Errorf("%s: want the temporary folder there %v, found %v", what, want, err)
		}
		if _, err := os.Stat(kept); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := release(); err != nil {
			t.Error(err)
		}
	}
	check("while somebody holds it", true)
	if err := first(); err != nil {
		t.Fatal(err)
	}
	check("when nobody holds it", false)
}
