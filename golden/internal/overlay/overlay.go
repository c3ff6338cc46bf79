// Package overlay is what a build lays over a root: files, directories and symbolic
// links, each a [File]. stage makes a list of them from the recipe, pack writes
// them before the root's own members, and [Lay] writes them into a directory. It is
// short because it is the one type that stage, pack and build share.
package overlay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// File is one thing laid over a root: a regular file (Data or Source), a
// symbolic link, or a directory.
type File struct {
	Path     string      // in the guest, without the leading slash
	Mode     fs.FileMode // fs.ModeDir and fs.ModeSymlink say the kind; permission, set-id and sticky bits
	UID, GID int
	Data     []byte
	Source   string // file on this machine to read in place of Data
	Link     string // target of a link
}

// Open returns the content of a regular file. The caller closes it.
func (f File) Open() (io.ReadCloser, error) {
	if f.Source != "" {
		return regular.Open(f.Source)
	}
	return io.NopCloser(bytes.NewReader(f.Data)), nil
}

// Lay writes files into root, replacing what is in their place; directories on the
// way are made with mode 0755. No link in the tree leads out of root. It is
// safe to repeat.
func Lay(root string, files []File, mtime time.Time) (err error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for _, f := range files {
		if err := lay(r, f); err != nil {
			err = fmt.Errorf("lay /%s: %w", f.Path, err)
			if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
				err = fault.WrapHint(fault.Failed, err, "free space below "+root)
			}
			return err
		}
		if err := r.Lchown(f.Path, f.UID, f.GID); err != nil {
			return fmt.Errorf("lay /%s: %w", f.Path, err)
		}
		if f.Mode&fs.ModeSymlink != 0 {
			continue
		}
		// After chown, which clears set-id bits.
		if err := r.Chmod(f.Path, f.Mode&^fs.ModeDir); err != nil {
			return fmt.Errorf("lay /%s: %w", f.Path, err)
		}
		if f.Mode.IsRegular() && !mtime.IsZero() {
			if err := r.Chtimes(f.Path, mtime, mtime); err != nil {
				return fmt.Errorf("lay /%s: %w", f.Path, err)
			}
		}
	}
	return nil
}

func lay(r *os.Root, f File) (err error) {
	if dir := path.Dir(f.Path); dir != "." {
		if err := r.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	info, err := r.Lstat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir() && f.Mode.IsDir():
		return nil
	case info.IsDir():
		return syscall.EISDIR // a recipe that wants a file where packages made a directory
	default:
		if err := r.Remove(f.Path); err != nil {
			return err
		}
	}
	switch {
	case f.Mode.IsDir():
		return r.Mkdir(f.Path, 0o755)
	case f.Mode&fs.ModeSymlink != 0:
		return r.Symlink(f.Link, f.Path)
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := r.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
