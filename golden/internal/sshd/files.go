package sshd

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/regular"
)

// files answers SFTP requests below one root. The kernel's and os.Root's rules
// hold: no path, and no symbolic link met on the way, leads out of it; an
// absolute link is not followed either, because here it would point into this
// machine. Links themselves can be made, listed and read as they are.
type files struct {
	root *os.Root
}

// Fileread opens a file for download.
func (f *files) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	h, err := regular.OpenIn(f.root, inRoot(r.Filepath), os.O_RDONLY, 0)
	if err != nil {
		return nil, status(err)
	}
	return h, nil // the server closes it
}

// Filewrite opens a file for upload.
func (f *files) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	pf := r.Pflags()
	flags := os.O_WRONLY
	if pf.Read {
		flags = os.O_RDWR
	}
	if pf.Creat {
		flags |= os.O_CREATE
	}
	if pf.Trunc {
		flags |= os.O_TRUNC
	}
	if pf.Excl {
		flags |= os.O_EXCL
	}
	mode := fs.FileMode(0o644)
	if r.AttrFlags().Permissions {
		mode = r.Attributes().FileMode().Perm()
	}
	h, err := regular.OpenIn(f.root, inRoot(r.Filepath), flags, mode)
	if err != nil {
		return nil, status(err)
	}
	return h, nil
}

// Filecmd changes names and attributes.
func (f *files) Filecmd(r *sftp.Request) error {
	name := inRoot(r.Filepath)
	switch r.Method {
	case "Setstat":
		return status(f.setstat(name, r))
	case "Rename", "PosixRename":
		return status(f.root.Rename(name, inRoot(r.Target)))
	case "Rmdir":
		if info, err := f.root.Lstat(name); err == nil && !info.IsDir() {
			return sftp.ErrSSHFxFailure
		}
		return status(f.root.Remove(name))
	case "Remove":
		if info, err := f.root.Lstat(name); err == nil && info.IsDir() {
			return sftp.ErrSSHFxFailure
		}
		return status(f.root.Remove(name))
	case "Mkdir":
		return status(f.root.Mkdir(name, 0o755))
	case "Link":
		return status(f.root.Link(name, inRoot(r.Target)))
	case "Symlink":
		// Filepath is what the link says, Target where it is: as data, a
		// link may say anything.
		return status(f.root.Symlink(r.Filepath, inRoot(r.Target)))
	}
	return sftp.ErrSSHFxOpUnsupported
}

func (f *files) setstat(name string, r *sftp.Request) error {
	flags, attr := r.AttrFlags(), r.Attributes()
	if flags.Size {
		h, err := regular.OpenIn(f.root, name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(h.Truncate(int64(attr.Size)), h.Close()); err != nil {
			return err
		}
	}
	if flags.UidGid {
		if err := f.root.Lchown(name, int(attr.UID), int(attr.GID)); err != nil {
			return err
		}
	}
	if flags.Permissions { // after the owner: chown clears set-id bits
		if err := f.root.Chmod(name, attr.FileMode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)); err != nil {
			return err
		}
	}
	if flags.Acmodtime {
		return f.root.Chtimes(name, time.Unix(int64(attr.Atime), 0), time.Unix(int64(attr.Mtime), 0))
	}
	return nil
}

// Filelist lists a directory, or looks at one name.
func (f *files) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	name := inRoot(r.Filepath)
	switch r.Method {
	case "List":
		// As a directory: an open of a named pipe would wait.
		d, err := f.root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, status(err)
		}
		infos, err := d.Readdir(-1)
		return list(infos), status(errors.Join(err, d.Close()))
	case "Stat":
		info, err := f.root.Stat(name)
		return list{info}, status(err)
	}
	return nil, sftp.ErrSSHFxOpUnsupported
}

// Lstat looks at a name without following a link.
func (f *files) Lstat(r *sftp.Request) (sftp.ListerAt, error) {
	info, err := f.root.Lstat(inRoot(r.Filepath))
	return list{info}, status(err)
}

// Readlink returns what a link says.
func (f *files) Readlink(name string) (string, error) {
	target, err := f.root.Readlink(inRoot(name))
	return target, status(err)
}

type list []fs.FileInfo

// ListAt copies infos from an offset, as io.ReaderAt does bytes.
func (l list) ListAt(to []fs.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(to, l[offset:])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

// inRoot makes a client's path relative to the root; ".." stops at the top.
func inRoot(name string) string {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		return "."
	}
	return clean
}

// status maps what SFTP has a word for. The rest goes to the client as text; it
// names paths inside the root only.
func status(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return sftp.ErrSSHFxNoSuchFile
	case errors.Is(err, fs.ErrPermission):
		return sftp.ErrSSHFxPermissionDenied
	}
	return err
}
