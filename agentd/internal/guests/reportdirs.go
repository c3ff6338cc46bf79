package guests

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/felhom/felhom-golden/internal/atomicfile"
)

// ReportsDir is the name of the directory of reports in the state directory.
const ReportsDir = "reports"

// reportDirs are the directory of reports and, in it, the directory of their
// logs. They can be opened again while the program runs: what is written to a
// directory that was removed is in no file that a later start could read.
type reportDirs struct {
	path string
	now  atomic.Pointer[openDirs]

	mu  sync.Mutex
	old []*openDirs // that were removed; others may still be using them
}

type openDirs struct{ files, logs *os.Root }

// open makes what does not exist, and opens both.
func (d *reportDirs) open(path string) error {
	d.path = path
	dirs := &openDirs{}
	for _, dir := range []struct {
		path string
		into **os.Root
	}{{path, &dirs.files}, {filepath.Join(path, "log"), &dirs.logs}} {
		err := atomicfile.MakeDirectory(dir.path, 0o700)
		if err == nil {
			*dir.into, err = os.OpenRoot(dir.path)
		}
		if err != nil {
			return errors.Join(err, dirs.close())
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if before := d.now.Swap(dirs); before != nil {
		d.old = append(d.old, before)
	}
	return nil
}

func (d *reportDirs) files() *os.Root { return d.now.Load().files }

func (d *reportDirs) logs() *os.Root { return d.now.Load().logs }

// areGone reports whether one of the directories was removed or replaced since
// it was opened.
func (d *reportDirs) areGone() bool {
	dirs := d.now.Load()
	return isGone(d.path, dirs.files) || isGone(filepath.Join(d.path, "log"), dirs.logs)
}

func isGone(path string, root *os.Root) bool {
	held, err := root.Stat(".")
	if err != nil {
		return false // the next write says what is wrong
	}
	named, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(held, named)
}

func (d *reportDirs) close() (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, dirs := range append(d.old, d.now.Load()) {
		if dirs != nil {
			err = errors.Join(err, dirs.close())
		}
	}
	return err
}

func (d *openDirs) close() (err error) {
	for _, root := range []*os.Root{d.files, d.logs} {
		if root != nil {
			err = errors.Join(err, root.Close())
		}
	}
	return err
}

// heal opens the directories again if they were removed while the daemon ran. The
// lines of the log that was removed with them are written to a new one: guests
// were told that they are kept. After an error the next call continues.
func (w *reportWriter) heal() error {
	if w.store.dirs.areGone() {
		if err := w.store.dirs.open(w.store.dirs.path); err != nil {
			return fmt.Errorf("directory of reports was removed: %w", err)
		}
		w.isLogGone = w.log != nil
	}
	if !w.isLogGone {
		return nil
	}
	lines := make([]byte, w.log.size)
	if _, err := w.log.file.ReadAt(lines, 0); err != nil {
		return fmt.Errorf("log of reports, which was removed: %w", err)
	}
	next, err := openLog(w.store.dirs.logs(), w.number+1)
	if err != nil {
		return err
	}
	if err := next.append(lines); err != nil {
		return errors.Join(err, next.file.Close(), w.store.dirs.logs().Remove(next.name))
	}
	err = w.log.file.Close()
	w.log, w.isLogGone = next, false
	return err
}
