// Package regular opens and reads regular files at names that others control:
// call [Open] or [Read], or [OpenIn] and [ReadIn] below a root. Opening a named
// pipe waits for its other end and opening a device can do anything, so only a
// regular file is opened, and no open waits. Symbolic links are followed as
// package os follows them, unless a flag says otherwise.
package regular

import (
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// ErrNotRegular is in the chain of each error about a name that is a directory,
// a named pipe, a socket or a device.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge is in the chain of each error about a file that exceeds a limit.
var ErrTooLarge = errors.New("file too large")

// Open opens the regular file name for reading. Files of the kernel that can
// wait are refused; [Read] reads them, because most never do.
func Open(name string) (*os.File, error) {
	f, err := open(name)
	return stored(name, f, err)
}

func open(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if cause, ok := errors.AsType[*fs.PathError](err); ok {
		err = &fs.PathError{Op: "open", Path: name, Err: cause.Err}
	}
	if err != nil {
		return nil, err
	}
	if err := check(name, info); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	return opened(name, f, err)
}

// patience is how long a read of a file of the kernel waits that has nothing to
// read now, as /proc/kmsg. It counts for each read.
const patience = 3 * time.Second

// patient ends a read that waits. Files of file systems that store them do not.
type patient struct {
	f    *os.File
	wait time.Duration
}

func (p patient) Read(b []byte) (int, error) {
	// The error is os.ErrNoDeadline for a file whose reads cannot wait.
	_ = p.f.SetReadDeadline(time.Now().Add(p.wait))
	n, err := p.f.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return p.last(b)
	}
	return n, err
}

// last reads what can be read at once. On a busy machine the time can be over before the
// file was asked, and /etc/pve is of the files that the deadline counts for.
func (p patient) last(b []byte) (n int, err error) {
	raw, err := p.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var readErr error
	err = raw.Control(func(fd uintptr) {
		for n, readErr = syscall.Read(int(fd), b); errors.Is(readErr, syscall.EINTR); n, readErr = syscall.Read(int(fd), b) {
		}
	})
	switch {
	case err != nil:
		return 0, err
	case errors.Is(readErr, syscall.EAGAIN): // the file was opened with O_NONBLOCK
		return 0, notRegular(p.f.Name(), "file of the kernel that has nothing to read now")
	case readErr != nil:
		return 0, &fs.PathError{Op: "read", Path: p.f.Name(), Err: readErr}
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Sum returns the digest of the regular file name by h, in hexadecimal.
func Sum(name string, h hash.Hash) (_ string, err error) {
	f, err := Open(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// OpenIn opens the regular file name below root, with the flags and the mode of
// [os.Root.OpenFile]. With os.O_CREATE the file need not exist.
func OpenIn(root *os.Root, name string, flags int, mode fs.FileMode) (*os.File, error) {
	look := root.Stat
	if flags&syscall.O_NOFOLLOW != 0 {
		look = root.Lstat
	}
	// A device is refused before it is opened, because opening it can act on
	// it. If the look fails, the open itself returns the error.
	if info, err := look(name); err == nil {
		if err := check(name, info); err != nil {
			return nil, err
		}
	}
	f, err := root.OpenFile(name, flags|syscall.O_NONBLOCK, mode)
	return opened(name, f, err)
}

// Read returns the content of the regular file name. A file of more than limit
// bytes is an error.
func Read(name string, limit int64) ([]byte, error) {
	f, err := open(name)
	return read(name, f, err, limit)
}

// ReadIn is [Read] below root.
func ReadIn(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := OpenIn(root, name, os.O_RDONLY, 0)
	return read(name, f, err, limit)
}

// opened checks the open file again: the name may lead to another file now.
func opened(name string, f *os.File, err error) (*os.File, error) {
	if errors.Is(err, syscall.ENXIO) { // a named pipe without a reader, or a socket
		return nil, notRegular(name, "named pipe or socket")
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = check(name, info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// stored refuses an open file of /proc and the like whose reads can wait.
func stored(name string, f *os.File, err error) (*os.File, error) {
	if err != nil || errors.Is(f.SetReadDeadline(time.Time{}), os.ErrNoDeadline) {
		return f, err
	}
	var st syscall.Statfs_t
	raw, err := f.SyscallConn()
	if err == nil {
		var statErr error
		err = raw.Control(func(fd uintptr) { statErr = syscall.Fstatfs(int(fd), &st) })
		err = errors.Join(err, statErr)
	}
	const procfs, tracefs, debugfs = 0x9fa0, 0x74726163, 0x64626720 // linux/magic.h
	switch st.Type {
	case procfs, tracefs, debugfs:
		err = notRegular(name, "file of the kernel")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func read(name string, f *os.File, err error, limit int64) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(patient{f, patience}, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("%w: it exceeds the limit of %d bytes", ErrTooLarge, limit)}
	}
	return data, nil
}

func check(name string, info fs.FileInfo) error {
	kind := ""
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "directory"
	case mode&fs.ModeNamedPipe != 0:
		kind = "named pipe"
	case mode&fs.ModeSocket != 0:
		kind = "socket"
	case mode&fs.ModeDevice != 0:
		kind = "device"
	case mode&fs.ModeSymlink != 0:
		kind = "symbolic link"
	default:
		kind = "special file"
	}
	return notRegular(name, kind)
}

func notRegular(name, kind string) error {
	return &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%w: it is a %s", ErrNotRegular, kind)}
}
