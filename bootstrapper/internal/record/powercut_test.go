package record_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/internal/powercut"
)

// The power is cut after each operation of three runs' ends: the record is that of the last run that
// ended, or of the one that is ending, and nothing is in the way of the next.
func TestRecordAfterAPowerCut(t *testing.T) {
	c := powercut.NewDisk(t)
	path := filepath.Join(c.Mount(t), record.File)
	runs := []string{"", "a", "b", "c"}
	ends := make([]int, len(runs))
	for i := 1; i < len(runs); i++ {
		if err := record.Write(path, record.Result{Run: runs[i]}); err != nil {
			t.Fatal(err)
		}
		ends[i] = c.Length()
	}
	if c.Length() < 12 {
		t.Fatalf("%d operations: they were not noted", c.Length())
	}
	c.Cuts(t, 0, func(cut powercut.Cut) {
		dir := t.TempDir()
		cut.Write(t, dir)
		last := 0
		for i, end := range ends {
			if end <= cut.After {
				last = i
			}
		}
		path := filepath.Join(dir, record.File)
		got, err := record.Read(path)
		if errors.Is(err, record.ErrNone) {
			err = nil
		}
		if err != nil || got.Run != runs[last] && got.Run != runs[min(last+1, len(runs)-1)] {
			t.Errorf("%s: run %q, %v, want %q or the next", cut.Name, got.Run, err, runs[last])
		}
		if err := errors.Join(record.Sweep(path), record.Write(path, record.Result{Run: "d"})); err != nil {
			t.Errorf("%s: the next run: %v", cut.Name, err)
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left over, %v", cut.Name, left, err)
		}
	})
}
