package debroot

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
)

// A package of the store that is not what was taken in counts as missing, so that it is fetched and verified again: what the disk
// has lost or turned, and a file under the name of another package.
func TestStoreKnowsDamage(t *testing.T) {
	dir, err := cachedir.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	for _, length := range []int{64, 128} { // SHA-256, SHA-512
		p := pkg{Name: "p", Sum: strings.Repeat("1", length)}
		s := store{dir, nil}
		fakePackage(t, s.path(p), p.Sum)
		check := func(what string, want int) {
			t.Helper()
			if list, err := s.missing(t.Context(), []pkg{p}); err != nil || len(list) != want {
				t.Errorf("%s: want %d missing, got %v, %v", what, want, list, err)
			}
		}
		check("whole", 0)
		good, err := os.ReadFile(s.path(p))
		if err != nil {
			t.Fatal(err)
		}
		for at := range good {
			bad := bytes.Clone(good)
			bad[at] ^= 1
			if err := os.WriteFile(s.path(p), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			check("one bit", 1)
			if err := os.WriteFile(s.path(p), good[:at], 0o600); err != nil {
				t.Fatal(err)
			}
			check("cut", 1)
		}
		if err := os.WriteFile(s.path(p), append(bytes.Clone(good), 0), 0o600); err != nil {
			t.Fatal(err)
		}
		check("longer", 1)
		other := strings.Repeat("2", length)
		fakePackage(t, s.path(p), other)
		check("another package's", 1)
		if err := os.Remove(s.path(p)); err != nil {
			t.Fatal(err)
		}
		check("removed", 1)
		if err := os.Mkdir(s.path(p), 0o700); err != nil {
			t.Fatal(err)
		}
		check("a directory", 1)
	}
	if names, err := filepath.Glob(dir.Path("*")); err != nil || len(names) != 2 {
		t.Errorf("looking changes nothing: got %v, %v", names, err)
	}
}
