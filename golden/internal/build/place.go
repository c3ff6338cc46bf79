package build

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/internal/atomicfile"
)

// document is a record of an archive. Its name is that of the archive and a suffix.
type document struct {
	suffix string
	data   []byte
}

// place gives the archive at from, whose content is on the disk, the name to, once its records are there. It writes
// them beside from. A loss of power at any time leaves no archive without them, and takes nothing after place
// has returned.
func place(from, to string, force bool, records []document) error {
	err := atomicfile.In(filepath.Dir(from), func(root *os.Root) error {
		for _, r := range records {
			if err := atomicfile.WriteInBatch(root, filepath.Base(from)+r.suffix, r.data, atomicfile.Attr{Mode: 0o644}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	for _, r := range records {
		if err := os.Rename(from+r.suffix, to+r.suffix); err != nil {
			return fmt.Errorf("publish records: %w", err)
		}
	}
	if err := atomicfile.SyncPath(filepath.Dir(to)); err != nil {
		return fmt.Errorf("publish records: %w", err)
	}
	move := os.Rename
	if !force {
		move = os.Link // fails when another process was quicker
	}
	if err := move(from, to); err != nil {
		return fmt.Errorf("publish archive: %w", err)
	}
	if err := atomicfile.SyncPath(filepath.Dir(to)); err != nil {
		return fmt.Errorf("publish archive: %w", err)
	}
	return nil
}
