package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/progress"
	"github.com/felhom/felhom-golden/internal/scratch"
)

// document is a record of an archive. Its name is that of the archive and a suffix.
type document struct {
	suffix string
	data   []byte
}

// place gives the archive at from, whose content is on the disk, the name to, once its records are there. It writes
// them beside from. With force it replaces an archive and its records.
//
// An error leaves what was there. A kill or a loss of power at any time leaves no archive without its own records: the
// archive from before with those from before, no archive, or the new one. A loss of power takes nothing after place
// has returned. The caller excludes other processes, by claim.
func place(from, to string, force bool, records []document) error {
	if err := checkTarget(Target{Path: to, Force: force}); err != nil { // again: a build takes minutes
		return err
	}
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
	var done moves
	if err := done.publish(from, to, force, records); err != nil {
		return fmt.Errorf("publish archive: %w", errors.Join(err, done.undo()))
	}
	if err := atomicfile.SyncPath(filepath.Dir(to)); err != nil {
		return fmt.Errorf("publish archive: %w", err)
	}
	return nil
}

// claim waits until this process alone places archives or roots in dir. The caller calls Close.
func claim(ctx context.Context, dir string, p *progress.Printer) (scratch.Dir, error) {
	waiting := sync.OnceFunc(func() { p.Line("waiting for another run that writes to " + dir) })
	lock, err := scratch.Lock(ctx, dir, waiting)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return scratch.Dir{}, fault.Wrap(fault.Of(cause), fmt.Errorf("wait for another run that writes to %s: %w", dir, cause))
	}
	if errors.Is(err, fs.ErrPermission) {
		return scratch.Dir{}, fault.WrapHint(fault.Failed, err, "another user's run was killed there: remove that directory if none is under way")
	}
	return lock, err
}

// moves are the files that got another name, in their order.
type moves []struct{ from, to string }

// publish gives records and archive at from their names. What has these names now goes beside from first, the archive
// before its records.
func (m *moves) publish(from, to string, force bool, records []document) error {
	const before = ".before"
	if force {
		if err := m.setAside(to, from+before); err != nil {
			return err
		}
		if err := atomicfile.SyncPath(filepath.Dir(to)); err != nil {
			return err
		}
	}
	for _, r := range records {
		if err := m.setAside(to+r.suffix, from+before+r.suffix); err != nil {
			return err
		}
	}
	for _, r := range records {
		if err := m.rename(from+r.suffix, to+r.suffix); err != nil {
			return err
		}
	}
	if err := atomicfile.SyncPath(filepath.Dir(to)); err != nil {
		return err
	}
	if force {
		return os.Rename(from, to)
	}
	return os.Link(from, to) // fails if a process that waits for no other was quicker
}

// setAside moves the file at from. It does nothing if there is none.
func (m *moves) setAside(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.IsDir() { // it would be removed with what is in it
		err = fmt.Errorf("%s is a directory", from)
	}
	if err != nil {
		return err
	}
	return m.rename(from, to)
}

func (m *moves) rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	*m = append(*m, struct{ from, to string }{from, to})
	return nil
}

// undo gives the files their names of before, the last one first. It ends at the first name that cannot be given: an
// archive is not put back without its records.
func (m moves) undo() (err error) {
	for _, one := range slices.Backward(m) {
		if failed := os.Rename(one.to, one.from); failed != nil {
			return errors.Join(err, failed)
		}
		err = errors.Join(err, atomicfile.SyncPath(filepath.Dir(one.from)))
	}
	return err
}
