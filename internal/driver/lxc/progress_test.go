package lxc

import (
	"archive/tar"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/unpack"
)

// A restore that is refused has no progress any more once it has returned: the
// archive's decoder runs in a goroutine of its own, and may be in the middle of a
// Read. What progress writes is the caller's again.
func TestRefusedRestoreReportsNothingAfterIt(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "vzdump-lxc-9100-2026_01_02-03_04_05.tar")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	for _, h := range []tar.Header{
		{Name: "./disk", Typeflag: tar.TypeBlock, Mode: 0o600}, // refused
		{Name: "./large", Typeflag: tar.TypeReg, Mode: 0o600, Size: 4 << 20},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var isLate atomic.Bool
	for range 50 {
		var last int64
		var hasEnded atomic.Bool
		err := unpackInto(t.Context(), archive, t.TempDir(), unpack.IDMap{}, func(done, _ int64) {
			last = done
			<-time.After(time.Millisecond)
			if hasEnded.Load() {
				isLate.Store(true)
			}
		})
		hasEnded.Store(true)
		if err == nil {
			t.Fatal("a block device was taken")
		}
		if last == 0 {
			t.Error("no progress at all")
		}
	}
	if isLate.Load() {
		t.Error("progress was reported after the end")
	}
}
