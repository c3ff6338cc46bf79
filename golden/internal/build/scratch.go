package build

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/filelock"
)

// scratchPrefix names the hidden directory in which an archive grows.
const scratchPrefix = ".felhom-golden-tmp-"

// scratch is a directory on the file system of the archive, locked for as long as
// its owner lives. One without a lock was left by a killed run.
type scratch struct {
	dir  string
	lock *os.File
}

// newScratch makes a directory in dir, and removes those that killed runs left.
func newScratch(dir string) (scratch, error) {
	left, err := filepath.Glob(filepath.Join(escape(dir), scratchPrefix+"*"))
	if err != nil {
		return scratch{}, err
	}
	for _, name := range left {
		if err := removeStale(name); err != nil {
			return scratch{}, fmt.Errorf("clear what a killed run left: %w", err)
		}
	}
	for {
		s := scratch{dir: filepath.Join(dir, scratchPrefix+rand.Text()[:8])}
		if err := os.Mkdir(s.dir, 0o700); err != nil {
			return scratch{}, fmt.Errorf("make the directory of the archive: %w", err)
		}
		s.lock, err = lockDirectory(s.dir)
		if err != nil {
			return scratch{}, errors.Join(fmt.Errorf("make the directory of the archive: %w", err), os.RemoveAll(s.dir))
		}
		if s.lock != nil {
			return s, nil
		}
		// Another run took it for a stale one before it was locked.
	}
}

// Close removes the directory.
func (s scratch) Close() error { return errors.Join(os.RemoveAll(s.dir), filelock.Close(s.lock)) }

func removeStale(name string) error {
	lock, err := lockDirectory(name)
	if err != nil || lock == nil {
		return err
	}
	return scratch{dir: name, lock: lock}.Close()
}

// lockDirectory returns nil when another process has the lock, or when the directory is
// gone.
func lockDirectory(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = filelock.Try(f, filelock.Exclusive)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, f.Close()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	held, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, filelock.Close(f))
	}
	if there, err := os.Lstat(name); err != nil || !os.SameFile(held, there) {
		return nil, filelock.Close(f) // removed before it was locked here
	}
	return f, nil
}

// escape makes filepath.Glob take dir as it is.
func escape(dir string) string {
	var out []rune
	for _, c := range dir {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return string(out)
}
