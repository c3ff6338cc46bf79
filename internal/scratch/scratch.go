// Package scratch makes directories for results that are not finished, or are not kept, beside
// the place of the result or in the directory of temporary files. Call [New]. A directory
// is locked as long as its process lives, so that the next run knows and removes what
// killed runs left: call [Sweep] where a run may end before it makes one. [Lock] lets
// one run at a time give results their names.
package scratch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/filelock"
)

// prefix begins the name of each of these directories, which are hidden.
const prefix = ".felhom-golden-tmp-"

// Dir is an empty directory of this process.
type Dir struct {
	Path string
	lock *os.File
}

// New makes a directory in the directory parent, or in that of temporary files if
// parent is "". It removes those that killed runs left there. The caller calls Close.
func New(parent string) (Dir, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	if err := Sweep(parent); err != nil {
		return Dir{}, err
	}
	for {
		d := Dir{Path: filepath.Join(parent, prefix+rand.Text()[:8])}
		if err := os.Mkdir(d.Path, 0o700); err != nil {
			return Dir{}, fmt.Errorf("make a temporary directory: %w", err)
		}
		var err error
		d.lock, err = lockDirectory(d.Path)
		if err != nil {
			return Dir{}, errors.Join(fmt.Errorf("make a temporary directory: %w", err), os.RemoveAll(d.Path))
		}
		if d.lock != nil {
			return d, nil
		}
		// Another run took it for a stale one before it was locked.
	}
}

// Lock makes the one directory in the directory parent that only one process can have,
// and waits until ctx is done for one that has it. It calls waiting when it has to wait.
// The caller calls Close.
func Lock(ctx context.Context, parent string, waiting func()) (Dir, error) {
	d := Dir{Path: filepath.Join(parent, prefix+"lock")}
	for {
		if err := os.Mkdir(d.Path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return Dir{}, fmt.Errorf("make a temporary directory: %w", err)
		}
		f, err := openDirectory(d.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its process has ended meanwhile
		}
		if err != nil {
			return Dir{}, err
		}
		if err := filelock.TakeWhenFree(ctx, f, filelock.Exclusive, waiting); err != nil {
			return Dir{}, errors.Join(err, f.Close())
		}
		if d.lock, err = stillNamed(f, d.Path); d.lock != nil || err != nil {
			return d, err
		}
	}
}

// Close removes the directory and what is in it.
func (d Dir) Close() error { return errors.Join(os.RemoveAll(d.Path), filelock.Close(d.lock)) }

// Sweep removes what killed runs of this user left in the directory parent. If there is no
// such directory, it does nothing.
func Sweep(parent string) error {
	left, err := fs.Glob(os.DirFS(filepath.Clean(parent)), prefix+"*") // parent may have brackets in it
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := removeStale(filepath.Join(parent, name)); err != nil {
			return fmt.Errorf("clear what a killed run left: %w", err)
		}
	}
	return nil
}

// removeStale passes over a directory of another user: in that of temporary files each
// user can make one.
func removeStale(name string) error {
	info, err := os.Lstat(name)
	if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		return nil //nolint:nilerr // one that is gone needs nothing
	}
	lock, err := lockDirectory(name)
	if errors.Is(err, fs.ErrPermission) || err == nil && lock == nil {
		return nil
	}
	if err != nil {
		return err
	}
	return Dir{Path: name, lock: lock}.Close()
}

// lockDirectory returns nil when another process has the lock, and when the directory is
// gone. It does not look at the owner: many shares and the file systems of removable disks
// give each directory the same one.
func lockDirectory(name string) (*os.File, error) {
	f, err := openDirectory(name)
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
	return stillNamed(f, name)
}

func openDirectory(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
}

// stillNamed returns the locked directory f, or closes it and returns nil if it was
// removed before it was locked.
func stillNamed(f *os.File, name string) (*os.File, error) {
	held, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, filelock.Close(f))
	}
	if there, err := os.Lstat(name); err != nil || !os.SameFile(held, there) {
		return nil, filelock.Close(f)
	}
	return f, nil
}
