package stage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/powercut"
)

// The power is cut after each operation of a build that makes two bases, and one of them again. The machine
// starts again, which gives it another boot ID, and a base that is used afterwards is whole.
func TestBasesAfterAPowerCut(t *testing.T) {
	c := powercut.NewDisk(t)
	at := c.Mount(t)
	const text = "of a base, not synced"
	get := func(dir, key string) error {
		l, err := Cache{Dir: dir}.Layer(t.Context(), key, nil, func(_ context.Context, root string) error {
			return errors.Join(os.Mkdir(filepath.Join(root, "etc"), 0o755), os.WriteFile(filepath.Join(root, "etc/f"), []byte(text), 0o600))
		})
		if err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(l.Root, "etc/f"))
		if err == nil && string(data) != text {
			err = errors.New("a base with the file " + string(data) + "|")
		}
		return errors.Join(err, l.Close())
	}
	restart := func(dir string) error { // the file names the boot in which its base was made
		names, err := filepath.Glob(filepath.Join(dir, "layers/*/boot-id"))
		for _, name := range names {
			data, readErr := os.ReadFile(name)
			err = errors.Join(err, readErr, os.WriteFile(name, []byte(strings.ReplaceAll(string(data), bootID(), "of the boot before")), 0o600))
		}
		return err
	}
	for _, key := range []string{"one", "two"} {
		if err := get(at, key); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(restart(at), get(at, "one")); err != nil {
		t.Fatal(err)
	}
	if c.Length() < 20 {
		t.Fatalf("%d operations: they were not noted", c.Length())
	}
	c.Cuts(t, 0, func(cut powercut.Cut) {
		dir := t.TempDir()
		cut.Write(t, dir)
		if err := restart(dir); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"one", "two"} {
			if err := get(dir, key); err != nil {
				t.Errorf("%s: base %s: %v", cut.Name, key, err)
			}
		}
		if left, err := filepath.Glob(filepath.Join(dir, "layers/.tmp-*")); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left over, %v", cut.Name, left, err)
		}
	})
}
