package pack_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The record of cached frames says where they begin and which members they have. Whichever byte
// of it is damaged, and wherever it ends, the next archive is the one that it would be
// without a cache.
func TestDamagedRecordIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	must(t, os.MkdirAll(filepath.Join(root, "usr/share/doc/x"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "usr/share/doc/x/file"), []byte("of the base"), 0o644))
	src := source(root)
	build := func() (isReused bool, archive []byte) {
		out := output(t)
		out.CacheDir, out.CacheKey = filepath.Join(dir, "cache"), "base"
		res, archive := packed(t, src, out)
		return res.BaseReused, archive
	}
	_, want := build()
	if isReused, _ := build(); !isReused {
		t.Fatal("the frames of the first build are not used")
	}
	names, err := filepath.Glob(filepath.Join(dir, "cache/*.record"))
	if err != nil || len(names) != 1 {
		t.Fatalf("records %v, %v", names, err)
	}
	good, err := os.ReadFile(names[0])
	must(t, err)
	for at := 0; at < len(good); at += 41 {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		if at%2 == 0 {
			bad = good[:at]
		}
		must(t, os.WriteFile(names[0], bad, 0o600))
		if isReused, got := build(); isReused || !bytes.Equal(got, want) {
			t.Fatalf("byte %d of %d, reused %v: the archive has %d bytes, and is another: %v", at, len(good), isReused, len(got), !bytes.Equal(got, want))
		}
	}
}
