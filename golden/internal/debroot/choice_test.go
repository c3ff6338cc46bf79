package debroot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
)

// fakePackage makes a file that the store takes for a package with this digest.
func fakePackage(t *testing.T, path, sum string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(seal(f, sum), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// A choice in the cache that is damaged, or names what is not in the store, is asked for again.
func TestRemembered(t *testing.T) {
	cache := t.TempDir()
	packages, err := cachedir.Open(filepath.Join(cache, "packages"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = packages.Close() })
	f := filler{req: &Request{Key: "k", Cache: cache}, store: store{packages, nil}}
	sum := strings.Repeat("0", 64)
	one := selection{Packages: []pkg{{Name: "a", Version: "1", Sum: sum}}, Steps: []step{{unpack, []string{"a"}}, {configure, []string{"a"}}}}
	if err := f.remember(choice{Essential: one, Rest: one}); err != nil {
		t.Fatal(err)
	}
	if c, err := f.remembered(t.Context()); err != nil || c != nil {
		t.Errorf("without its package in the store: got %v, %v", c, err)
	}
	fakePackage(t, packages.Path(sum+".deb"), sum)
	if c, err := f.remembered(t.Context()); err != nil || c == nil || len(c.Rest.Packages) != 1 {
		t.Errorf("whole: got %v, %v", c, err)
	}
	choices, err := f.choices()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = choices.Close() })
	good, err := choices.ReadRecord("k"+choiceSuffix, maxChoice)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "{", "{}", string(good[:len(good)/2]),
		strings.ReplaceAll(string(good), `"unpack","Names":["a"]`, `"unpack","Names":["b"]`),
		strings.ReplaceAll(string(good), `"unpack","Names":["a"]`, `"unpack","Names":["a","$(id)"]`),
		strings.ReplaceAll(string(good), `"configure","Names":["a"]`, `"configure","Names":["a;id"]`),
		strings.ReplaceAll(string(good), `"configure"`, `"configure -a;id"`),
		strings.ReplaceAll(string(good), sum, "../"+sum),
	} {
		if text == string(good) {
			t.Fatal("a case changes nothing")
		}
		if err := choices.WriteRecord("k"+choiceSuffix, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if c, err := f.remembered(t.Context()); err != nil || c != nil {
			t.Errorf("%q: want none, got %v, %v", text, c, err)
		}
	}
	// Another version of the package would be as plain.
	if err := choices.WriteRecord("k"+choiceSuffix, good); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(choices.Path("k" + choiceSuffix))
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(whole), `"Version":"1"`, `"Version":"2"`, 1)
	if err := os.WriteFile(choices.Path("k"+choiceSuffix), []byte(bad), 0o600); err != nil || bad == string(whole) {
		t.Fatal(err)
	}
	if c, err := f.remembered(t.Context()); err != nil || c != nil {
		t.Errorf("with a damaged byte: want none, got %v, %v", c, err)
	}
}
