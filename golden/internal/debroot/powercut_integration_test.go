//go:build integration

package debroot

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/cachedir"
	"github.com/felhom/felhom-golden/internal/powercut"
)

// The power is cut after each operation of a build that keeps the archives' indexes, a package and a choice. What
// the next build uses of them is whole.
func TestPackagesAfterAPowerCut(t *testing.T) {
	c := powercut.NewDisk(t)
	at := c.Mount(t)
	file := debFile(t, "none")
	sum, err := fileSum(file, "SHA256")
	if err != nil {
		t.Fatal(err)
	}
	packages := []pkg{{Name: "p", Version: "1", File: filepath.Base(file), SumType: "SHA256", Sum: sum}}
	chosen := selection{Packages: packages, Steps: []step{{unpack, []string{"p"}}}}
	f := fillerAt(t, at)
	keepLists(t, f.req)
	err = f.store.add(t.Context(), filepath.Dir(file), packages)
	if err := errors.Join(err, f.remember(choice{Essential: chosen, Rest: chosen}), f.store.dir.Close()); err != nil {
		t.Fatal(err)
	}
	if c.Length() < 30 {
		t.Fatalf("%d operations: they were not noted", c.Length())
	}
	stored := "packages/" + packages[0].name()
	indexes := []string{"lists/state/" + indexDir + "/x_InRelease", "lists/state/" + indexDir + "/x_Packages"}
	used := map[string]int{}
	assertSame := func(cut, dir string, names ...string) {
		for _, name := range names {
			used[name]++
			want, wantErr := os.ReadFile(filepath.Join(at, name))
			got, err := os.ReadFile(filepath.Join(dir, name))
			if err := errors.Join(wantErr, err); err != nil || string(got) != string(want) {
				t.Errorf("%s: %s is used, and has %q, %v", cut, name, got, err)
			}
		}
	}
	c.Cuts(t, 0, func(cut powercut.Cut) {
		dir := t.TempDir()
		cut.Write(t, dir)
		f := fillerAt(t, dir)
		missing, err := f.store.missing(t.Context(), packages)
		if err != nil {
			t.Errorf("%s: %v", cut.Name, err)
		}
		if len(missing) == 0 {
			assertSame(cut.Name, dir, stored)
		}
		kept, err := f.remembered(t.Context())
		if err != nil || kept != nil && !slices.Equal(kept.Rest.Packages, packages) {
			t.Errorf("%s: the choice is %+v, %v", cut.Name, kept, err)
		}
		if kept != nil {
			used["choice"]++
		}
		if wholeLists(t, f.req) {
			assertSame(cut.Name, dir, indexes...)
		}
		if err := f.store.dir.Close(); err != nil {
			t.Error(err)
		}
	})
	if len(used) != 4 {
		t.Errorf("after the cuts %v are used, want package, indexes and choice: their check was not tried", used)
	}
}

// fillerAt returns what a build has whose cache is in dir. The store in it must be closed.
func fillerAt(t *testing.T, dir string) filler {
	t.Helper()
	d, err := cachedir.Open(filepath.Join(dir, "packages"))
	if err != nil {
		t.Fatal(err)
	}
	return filler{req: &Request{Cache: dir, State: "state", Key: "key"}, store: store{d, os.Environ()}}
}
