package record

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// LockFile is where the lock of a run is, below the root folder.
const LockFile = "/run/felhom-controller-bootstrap.lock"

// HeldError says that another run has the lock.
type HeldError struct {
	Path string
	PID  string // of the other run; "" where it is not known
}

func (e *HeldError) Error() string {
	if e.PID == "" {
		return "another run is under way (" + e.Path + ")"
	}
	return fmt.Sprintf("another run is under way: pid %s holds %s", e.PID, e.Path)
}

// Lock takes the lock at path or returns a *HeldError at once. The kernel lets
// go of it when the process ends, however it ends; the file stays.
func Lock(path string) (release func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(path) // only to name the other
		closeErr := f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(&HeldError{Path: path, PID: strings.TrimSpace(string(pid))}, closeErr)
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), closeErr)
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	return f.Close, nil
}

// Held tells whether a run has the lock at path.
func Held(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	closeErr := f.Close() // also lets go of the shared lock
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, closeErr
	}
	return false, errors.Join(err, closeErr)
}
