package record

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/filelock"
)

// LockFile is where the lock of a run is, below the root directory.
const LockFile = "/run/felhom-controller-bootstrap.lock"

// HeldError is the error if another run has the lock.
type HeldError struct {
	Path string
	PID  string // of the other run; "" if it is not known
}

func (e *HeldError) Error() string {
	if e.PID == "" {
		return "another run is under way (" + e.Path + ")"
	}
	return fmt.Sprintf("another run is under way: pid %s holds %s", e.PID, e.Path)
}

// A look by [Held] has the lock for a moment, so Lock tries for longer than that.
const patience = 300 * time.Millisecond

// Lock takes the lock at path, or returns a *HeldError if another run has it.
// The kernel releases it when the process ends, in whatever way; the file
// stays. Only root can open it: others could hold up every run with it.
func Lock(path string) (release func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := f.Chmod(0o600); err != nil { // one that an older version made
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	if err := take(f); err != nil {
		pid, _ := os.ReadFile(path) // only to name the other run
		closeErr := f.Close()
		if errors.Is(err, filelock.ErrHeld) {
			return nil, errors.Join(&HeldError{Path: path, PID: strings.TrimSpace(string(pid))}, closeErr)
		}
		return nil, errors.Join(err, closeErr)
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), filelock.Close(f))
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), filelock.Close(f))
	}
	return func() error { return filelock.Close(f) }, nil
}

// take retries while another process has the lock, for as long as patience
// allows.
func take(f *os.File) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, filelock.ErrHeld)
	defer cancel()
	return filelock.TakeWhenFree(ctx, f, filelock.Exclusive, nil)
}

// Held reports whether a run has the lock at path.
func Held(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	if err := filelock.Try(f, filelock.Shared); err != nil {
		closeErr := f.Close()
		if errors.Is(err, filelock.ErrHeld) {
			return true, closeErr
		}
		return false, errors.Join(err, closeErr)
	}
	return false, filelock.Close(f)
}
