package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/provenance"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/golden/internal/stage"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/progress"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/scratch"
)

// RecordSuffix is what the name of a staged root's record adds to that of the
// root. It is beside the root, so that it is never part of an image.
const RecordSuffix = ".stage.json"

// Record says what a staged root is, for the pack that follows.
type Record struct {
	Epoch    time.Time           `json:"epoch"`
	Recipe   recipe.Recipe       `json:"recipe"`
	Manifest provenance.Manifest `json:"manifest"`
}

// Stage makes root: the base with the overlay laid over it. root must not exist
// or be empty; on an error it is as before.
func Stage(ctx context.Context, root string, r recipe.Recipe, s Settings) (err error) {
	if err := checkEmpty(root); err != nil {
		return err
	}
	w, err := prepare(ctx, r, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.base.Close()) }()
	work, err := scratch.New(filepath.Dir(root))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	tmp := filepath.Join(work.Path, "root")
	st := s.Progress.Start("copy")
	if err := stage.Copy(ctx, w.base.Root, tmp); err != nil {
		return err
	}
	if err := overlay.Lay(tmp, w.overlay, w.plan.Epoch); err != nil {
		return err
	}
	m, err := w.manifest(s, r.Output.Compression)
	if err != nil {
		return err
	}
	if err := placeRoot(ctx, tmp, root, Record{Epoch: w.plan.Epoch, Recipe: r, Manifest: m}, s.Progress); err != nil {
		return err
	}
	st.Done("done", root)
	return stage.Cache{Dir: s.Cache}.Trim()
}

// placeRoot gives the root at tmp the name root, once its record is there.
func placeRoot(ctx context.Context, tmp, root string, rec Record, p *progress.Printer) (err error) {
	data, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return err
	}
	lock, err := claim(ctx, filepath.Dir(root), p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := checkEmpty(root); err != nil { // again: staging takes minutes
		return err
	}
	if err := os.WriteFile(root+RecordSuffix, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write record: %w", err)
	}
	if err := os.Remove(root); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace the empty directory: %w", err)
	}
	if err := os.Rename(tmp, root); err != nil {
		return fmt.Errorf("finish root: %w", err)
	}
	return nil
}

func checkEmpty(root string) error {
	entries, err := os.ReadDir(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault.Wrap(fault.Misuse, fmt.Errorf("look at ROOT: %w", err))
	case len(entries) > 0:
		return fault.WrapHint(fault.Misuse, fmt.Errorf("look at ROOT: %s is not empty", root), "name a directory that does not exist yet")
	}
	return nil
}

// maxRecord bounds a record; a real one has a few kilobytes.
const maxRecord = 16 << 20

// readRecord reads what [Stage] has written beside root.
func readRecord(root string) (Record, error) {
	data, err := regular.Read(root+RecordSuffix, maxRecord)
	if err != nil {
		return Record{}, fault.WrapHint(fault.Invalid, fmt.Errorf("read record of %s: %w", root, err), "felhom-golden stage writes it beside the root")
	}
	var rec Record
	if err := json.Unmarshal(data, &rec); err != nil {
		return Record{}, fault.Wrap(fault.Invalid, fmt.Errorf("read record of %s: %w", root, err))
	}
	return rec, nil
}
