// Package atomicfile replaces files so that a reader, or a machine that lost
// power, sees the old content or the new one and nothing in between. Call [Write],
// or [WriteIfChanged]. It writes a temporary file beside the target, sets owner
// and mode by its descriptor, calls fsync, renames it, and calls fsync for the
// directory. It never follows a symbolic link in place of the target.
package atomicfile

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// randomLength is how many random characters the name of a temporary file has.
const randomLength = 8

// ErrInPlace is in the chain of an error that came after the rename: readers see
// the new file, but a loss of power may restore the old one.
var ErrInPlace = errors.New("the new file is in place, but might not survive a loss of power")

// Attr holds the mode and owner of the new file. UID and GID count only if Chown is set.
type Attr struct {
	Mode     fs.FileMode // permission bits, exact: the umask does not apply
	Chown    bool
	UID, GID int
}

// Write replaces the content of name below root by data. The directory of name
// must exist. On an error the old file is untouched, unless the error is an
// [ErrInPlace]. No temporary file stays behind.
func Write(root *os.Root, name string, data []byte, attr Attr) error {
	return WriteFrom(root, name, bytes.NewReader(data), attr)
}

// Replace is Write for a file whose other writers the caller excludes: it removes the temporary
// files of name that killed ones left first.
func Replace(root *os.Root, name string, data []byte, attr Attr) error {
	if err := Sweep(root, name); err != nil {
		return err
	}
	return Write(root, name, data, attr)
}

// Create is Write for a file that must not exist: if it does, also by the work of
// another process or of another node of a cluster file system at this moment,
// the error is an fs.ErrExist and the file is as it was.
func Create(root *os.Root, name string, data []byte, attr Attr) error {
	return write(root, name, bytes.NewReader(data), attr, true, renameNew)
}

// WriteFrom is Write for content that comes from a reader; an error of the
// reader leaves the old file in place.
func WriteFrom(root *os.Root, name string, r io.Reader, attr Attr) error {
	return write(root, name, r, attr, true, (*os.Root).Rename)
}

// WriteInBatch is Write without the fsync of the directory: after a loss of power
// the file has the old content or the new. Sync the directory once after the last
// of many.
func WriteInBatch(root *os.Root, name string, data []byte, attr Attr) error {
	return write(root, name, bytes.NewReader(data), attr, false, (*os.Root).Rename)
}

func write(root *os.Root, name string, r io.Reader, attr Attr, syncsDirectory bool, rename func(root *os.Root, from, to string) error) (err error) {
	dir, base := path.Split(path.Clean(name))
	tmp := dir + temporary(base)
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	renamed := false
	defer func() {
		if err == nil {
			return
		}
		if renamed {
			err = fmt.Errorf("%w: %w", ErrInPlace, err)
		} else {
			_ = f.Close() // already closed on the later paths; the first error is the one to report
			err = errors.Join(err, root.Remove(tmp))
		}
		err = fmt.Errorf("write %s: %w", name, err)
	}()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	// Mode first: the mode of another user's file takes CAP_FOWNER, which the
	// daemon does not have. Again after the owner if chown cleared set-id bits.
	if err := f.Chmod(attr.Mode); err != nil {
		return err
	}
	if attr.Chown {
		if err := f.Chown(attr.UID, attr.GID); err != nil {
			return err
		}
		if attr.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			if err := f.Chmod(attr.Mode); err != nil {
				return err
			}
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := rename(root, tmp, name); err != nil {
		return err
	}
	renamed = true
	if !syncsDirectory {
		return nil
	}
	return SyncDirectory(root, dir)
}

// Remove removes name below root and calls fsync for its directory: a loss of power does
// not bring it back. It does nothing if the file does not exist.
func Remove(root *os.Root, name string) error {
	err := root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := SyncDirectory(root, path.Dir(path.Clean(name))); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// WriteIfChanged writes only if the content, mode or owner differs, and reports
// whether it did. A target that is not a regular file counts as different.
func WriteIfChanged(root *os.Root, name string, data []byte, attr Attr) (changed bool, err error) {
	same, err := isSame(root, name, data, attr)
	if err != nil {
		return false, err
	}
	if same {
		return false, nil
	}
	return true, Write(root, name, data, attr)
}

// In calls work with the directory dir, which it closes afterwards.
func In(dir string, work func(root *os.Root) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return errors.Join(work(root), root.Close())
}

// SweepAll removes the temporary files that killed writes to any name left in
// the directory root. The caller must exclude other writers meanwhile.
func SweepAll(root *os.Root) error {
	return sweep(root, "", func(target string) bool { return target != "" })
}

// temporary returns a new name for a temporary file of the target base.
func temporary(base string) string { return "." + base + "." + rand.Text()[:randomLength] + ".tmp" }

// Target returns the name that the temporary file of the given name was written
// for, or "" if it is not the name of a temporary file.
func Target(name string) string {
	rest, isHidden := strings.CutPrefix(name, ".")
	rest, isTemporary := strings.CutSuffix(rest, ".tmp")
	at := len(rest) - randomLength - 1
	if !isHidden || !isTemporary || at < 1 || rest[at] != '.' || strings.ToUpper(rest[at:]) != rest[at:] {
		return ""
	}
	return rest[:at]
}

// Sweep removes the temporary files that killed writes to name left. The caller
// must exclude other writers of name meanwhile.
func Sweep(root *os.Root, name string) error {
	dir, base := path.Split(path.Clean(name))
	return sweep(root, dir, func(target string) bool { return target == base })
}

// sweep removes the temporary files in dir, "" for root itself, of each target that matches.
func sweep(root *os.Root, dir string, matches func(target string) bool) error {
	d, err := root.Open(cmp.Or(dir, "."))
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, n := range names {
		if !matches(Target(n)) {
			continue
		}
		if err := root.Remove(dir + n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}

func isSame(root *os.Root, name string, data []byte, attr Attr) (bool, error) {
	info, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("compare %s: %w", name, err)
	case !info.Mode().IsRegular(), info.Mode().Perm() != attr.Mode, info.Size() != int64(len(data)), !isOwner(info, attr):
		return false, nil
	}
	old, err := root.ReadFile(name)
	if err != nil {
		return false, fmt.Errorf("compare %s: %w", name, err)
	}
	return bytes.Equal(old, data), nil
}

// SyncDirectory calls fsync for the directory dir below root, "" for root itself: the names in it
// survive a loss of power, and those that were removed do not come back.
func SyncDirectory(root *os.Root, dir string) (err error) {
	d, err := root.Open(cmp.Or(dir, "."))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return d.Sync()
}
