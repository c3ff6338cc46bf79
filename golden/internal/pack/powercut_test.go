package pack_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/pack"
	"github.com/felhom/felhom-golden/internal/powercut"
)

// The power is cut after each operation of three builds, of which the second has other frames and the third
// uses those of the first. The next archive has each byte that it would have without a cache, and an archive
// that has its name is whole.
func TestFramesAfterAPowerCut(t *testing.T) {
	c := powercut.NewDisk(t)
	at := c.Mount(t)
	root := t.TempDir()
	must(t, os.WriteFile(filepath.Join(root, "file"), []byte("of the base"), 0o644))
	src, name := source(root), filepath.Base(output(t).Path)
	build := func(dir, key string) (pack.Result, []byte) {
		out := output(t)
		out.CacheDir, out.CacheKey, out.Path, out.Force = filepath.Join(dir, "cache"), key, filepath.Join(dir, name), true
		return packed(t, src, out)
	}
	_, want := build(at, "one")
	_, _ = build(at, "two")
	if again, _ := build(at, "one"); !again.BaseReused {
		t.Error("the frames of the first build are not used")
	}
	if len(c.Changes()) < 20 {
		t.Fatalf("%d operations: they were not noted", c.Length())
	}
	whole := 0
	c.Cuts(t, 0, func(cut powercut.Cut) {
		dir := t.TempDir()
		cut.Write(t, dir)
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil && string(data) != string(want) {
			t.Errorf("%s: the archive has %d bytes, want its %d bytes", cut.Name, len(data), len(want))
		}
		again, got := build(dir, "one")
		if string(got) != string(want) {
			t.Errorf("%s: another archive, reused %v", cut.Name, again.BaseReused)
		}
		if again.BaseReused {
			whole++
		}
	})
	if whole == 0 {
		t.Error("no frames were used after a cut: their check was not tried")
	}
}
