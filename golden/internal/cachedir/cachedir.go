// Package cachedir keeps the directories of the cache, which several builds may
// fill at the same time. Call [Open], and publish by [Dir.WriteFile], [Dir.WriteRecord],
// [Dir.Share] or [Dir.MakeDir]: what is not finished has a temporary name, what has its own
// name is whole. What killed builds left is removed when no build is at work.
package cachedir

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/filelock"
)

// temporary begins the name of whatever is not finished.
const temporary = ".tmp-"

// Dir is an open directory of the cache. Its methods can be called from several
// goroutines.
type Dir struct {
	path string
	lock *os.File
}

// Open opens the directory path and creates it if it does not exist. Its
// temporary files stay until Close. If no other build has it open, those that
// are in it were left by killed builds, and Open removes them.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	d := &Dir{path: path, lock: f}
	switch err = filelock.Try(f, filelock.Exclusive); {
	case err == nil:
		err = d.sweep()
	case errors.Is(err, filelock.ErrHeld):
		err = nil
	}
	if err == nil {
		// It waits for a sweep at most.
		err = filelock.TakeWhenFree(context.Background(), f, filelock.Shared, nil)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open cache: %w", err), filelock.Close(f))
	}
	return d, nil
}

// Close lets other builds remove what is left with a temporary name.
func (d *Dir) Close() error { return filelock.Close(d.lock) }

func (d *Dir) sweep() error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			if err := os.RemoveAll(filepath.Join(d.path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Path returns the path of name in the directory.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

func (d *Dir) temporary(name string) string { return d.Path(temporary + rand.Text()[:8] + "-" + name) }

// WriteFile publishes the file name with what write gives. It replaces an older
// one. After an error of write, or a loss of power, there is no new file.
func (d *Dir) WriteFile(name string, write func(w io.Writer) error) (err error) {
	tmp := d.temporary(name)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}()
	w := bufio.NewWriterSize(f, 256<<10)
	if err := write(w); err != nil {
		return errors.Join(err, f.Close())
	}
	err = w.Flush()
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	if err := os.Rename(tmp, d.Path(name)); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	return nil
}

// Share publishes the file at path, which no one changes from now on, as name. It
// replaces an older one. The two share their blocks where the file system can do
// that, or are one file with two names; otherwise Share copies. So the file under
// name must be checked before it is used.
func (d *Dir) Share(name, path string) (err error) {
	tmp := d.temporary(name)
	src, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if !clone(tmp, src) && os.Link(path, tmp) != nil {
		return d.WriteFile(name, func(w io.Writer) error {
			_, err := io.Copy(w, src)
			return err
		})
	}
	err = os.Rename(tmp, d.Path(name))
	// A rename to another name of the same file leaves both.
	if rest := os.Remove(tmp); !errors.Is(rest, fs.ErrNotExist) {
		err = errors.Join(err, rest)
	}
	if err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	return nil
}

// clone makes the file at path with the blocks of src, and reports whether the
// file system can do that. If it cannot, there is no file at path.
func clone(path string, src *os.File) bool {
	dst, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	err = unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
	if err == nil {
		err = dst.Sync()
	}
	if errors.Join(err, dst.Close()) != nil {
		_ = os.Remove(path) // a link or a copy takes its place
		return false
	}
	return true
}

// MakeDir publishes the directory name with what fill puts into an empty one.
// It replaces an older one, which must not be in use. Files are not synced: the
// caller must not trust the directory after a loss of power.
func (d *Dir) MakeDir(name string, fill func(dir string) error) (err error) {
	tmp := d.temporary(name)
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := fill(tmp); err != nil {
		return err
	}
	if err := os.RemoveAll(d.Path(name)); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	if err := os.Rename(tmp, d.Path(name)); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	return nil
}

// Scratch calls use with an empty directory that is removed afterwards.
func (d *Dir) Scratch(use func(dir string) error) error {
	tmp := d.temporary("scratch")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return fmt.Errorf("write cache: %w", err)
	}
	return errors.Join(use(tmp), os.RemoveAll(tmp))
}

// Used records that name was used now, which is what Trim goes by.
func (d *Dir) Used(name string) {
	now := time.Now()
	_ = os.Chtimes(d.Path(name), now, now) // without it the name is trimmed earlier
}

// Trim keeps what was used last and calls remove with every other name. Names
// that are the same up to their first dot belong together; keep is the number
// of these. A name that another build removes meanwhile is not an error.
func (d *Dir) Trim(keep int, remove func(name string) error) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("trim cache: %w", err)
	}
	used := map[string]time.Time{}
	var keys []string
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || strings.HasPrefix(e.Name(), temporary) {
			continue
		}
		if err != nil {
			return fmt.Errorf("trim cache: %w", err)
		}
		key, _, _ := strings.Cut(e.Name(), ".")
		if _, known := used[key]; !known {
			keys = append(keys, key)
		}
		if info.ModTime().After(used[key]) {
			used[key] = info.ModTime()
		}
	}
	slices.SortStableFunc(keys, func(a, b string) int { return used[b].Compare(used[a]) })
	keys = keys[:min(len(keys), keep)]
	var errs error
	for _, e := range entries {
		key, _, _ := strings.Cut(e.Name(), ".")
		if _, known := used[key]; !known || slices.Contains(keys, key) {
			continue
		}
		if err := remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = errors.Join(errs, fmt.Errorf("trim cache: %w", err))
		}
	}
	return errs
}
