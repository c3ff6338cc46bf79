package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/felhom/felhom-golden/internal/atomicfile"
)

// Of any number of creators of one file exactly one succeeds, and the file is its.
func TestCreate(t *testing.T) {
	root, dir := openRoot(t)
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			err := atomicfile.Create(root, "f", []byte{byte('a' + i)}, atomicfile.Attr{Mode: 0o600})
			switch {
			case err == nil:
				won.Store(int32('a' + i))
			case !errors.Is(err, fs.ErrExist):
				t.Errorf("error %v, want fs.ErrExist", err)
			}
		})
	}
	all.Wait()
	if got, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || len(got) != 1 || int32(got[0]) != won.Load() {
		t.Errorf("file %q, %v, want that of the one that succeeded, %q", got, err, won.Load())
	}
	assertOnly(t, dir, "f")
}
