package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// maxSidecar bounds ARCHIVE.sha256, which is one line.
const maxSidecar = 4 << 10

// openArchive opens the archive that a command line names: a regular file, "-"
// for stdin, or a pipe that the caller's shell has opened, as in
// "verify <(zstd -dc x.tar.zst)". Any other named pipe, socket or device is
// refused, because opening one waits for whoever made it. A read ends with ctx.
func openArchive(ctx context.Context, stdin io.Reader, name string) (io.ReadCloser, string, error) {
	if name == "-" {
		if f, ok := stdin.(*os.File); ok {
			return &pipeReader{ctx: ctx, f: f}, "stdin", nil
		}
		return io.NopCloser(stdin), "stdin", nil
	}
	if f := inheritedPipe(name); f != nil {
		return &pipeReader{ctx: ctx, f: f, own: true}, name, nil
	}
	f, err := regular.Open(name)
	if err != nil {
		return nil, "", fault.WrapHint(fault.Invalid, err, "name the archive, or - to read it from stdin")
	}
	return f, name, nil
}

// inheritedPipe returns a duplicate of the open pipe that name means, or nil
// where it is not the name of one.
func inheritedPipe(name string) *os.File {
	number, ok := strings.CutPrefix(strings.TrimPrefix(name, "/proc/self"), "/fd/")
	if !ok {
		number, ok = strings.CutPrefix(name, "/dev/fd/")
	}
	if name == "/dev/stdin" {
		number, ok = "0", true
	}
	fd, err := strconv.Atoi(number)
	if !ok || err != nil || fd < 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || (st.Mode&unix.S_IFMT != unix.S_IFIFO && st.Mode&unix.S_IFMT != unix.S_IFSOCK) {
		return nil
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(own), name)
}

// pipeReader reads f, and stops waiting for it when ctx is done or after Close: a
// pipe may stay silent for ever, and the goroutine that decodes an archive may
// still wait for it when the archive was refused.
type pipeReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one command
	own bool            // f is to be closed

	mu       sync.Mutex // held while f is used
	f        *os.File
	isClosed bool
}

// pollMillis is how long a wait for f holds before ctx is looked at.
const pollMillis = 200

func (p *pipeReader) Read(b []byte) (int, error) {
	for {
		if err := context.Cause(p.ctx); err != nil {
			return 0, err
		}
		if n, err := p.poll(b); n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// poll waits a moment for something to read. 0 and nil mean that there was nothing.
func (p *pipeReader) poll(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed {
		return 0, os.ErrClosed
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.f.Fd()), Events: unix.POLLIN}}, pollMillis)
	switch {
	case err != nil && !errors.Is(err, unix.EINTR):
		return 0, fmt.Errorf("wait for input: %w", err)
	case n > 0:
		return p.f.Read(b)
	}
	return 0, nil
}

// Close implements [io.Closer]. It waits for a Read under way, for a moment at most.
func (p *pipeReader) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isClosed = true
	if !p.own {
		return nil
	}
	return p.f.Close()
}

// readSidecar reads the hash of sha256sum(1)'s format. It returns "" if there is
// no such file.
func readSidecar(name string) (string, error) {
	data, err := regular.Read(name, maxSidecar)
	const hint = "give the hash with --sha256, or write the file again with sha256sum"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case errors.Is(err, regular.ErrNotRegular), errors.Is(err, regular.ErrTooLarge):
		return "", fault.WrapHint(fault.Invalid, fmt.Errorf("read hash of the archive: %w", err), hint)
	case err != nil:
		return "", err
	}
	f := strings.Fields(string(data))
	if len(f) == 0 || !isHash(f[0]) {
		return "", fault.WrapHint(fault.Invalid, fmt.Errorf("%s: want 64 hex digits and a file name, as sha256sum writes them", name), hint)
	}
	return f[0], nil
}

// isHash reports whether text is a SHA-256 as sha256sum(1) writes it, in either case.
func isHash(text string) bool {
	sum, err := hex.DecodeString(text)
	return err == nil && len(sum) == sha256.Size
}

// checkConfigFile returns why writeConfig could not write name, before the work
// begins, and refuses the archive itself, and what directory takes the place of. It makes no file.
func checkConfigFile(name, directory string, archive io.Reader) error {
	if isSame(filepath.Dir(name), directory) || filepath.Base(name) == filepath.Base(directory) && isSame(filepath.Dir(name), filepath.Dir(directory)) {
		return fmt.Errorf("%s is in the place of the directory to unpack into", name)
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := unix.Access(filepath.Dir(name), unix.W_OK|unix.X_OK); err != nil {
			return &fs.PathError{Op: "write to", Path: filepath.Dir(name), Err: err}
		}
		return nil
	}
	if err != nil {
		return err
	}
	if p, ok := archive.(*pipeReader); ok { // stdin can be a file
		archive = p.f
	}
	if f, ok := archive.(*os.File); ok {
		if of, err := f.Stat(); err == nil && os.SameFile(info, of) {
			return fmt.Errorf("%s is the archive", name)
		}
	}
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return err
	}
	f, err := regular.OpenIn(root, filepath.Base(name), os.O_WRONLY, 0)
	if err == nil {
		err = f.Close()
	}
	return errors.Join(err, root.Close())
}

// isSame reports whether two names lead to one file that exists.
func isSame(a, b string) bool {
	of, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(of, other)
}

// writeConfig writes the guest's configuration to a regular file, new or not.
func writeConfig(name string, data []byte) (err error) {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := regular.OpenIn(root, filepath.Base(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
