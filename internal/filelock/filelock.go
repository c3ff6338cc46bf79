// Package filelock takes advisory locks, flock(2), between processes of one machine.
// To lock a file by its name, call [Wait] or [WaitAtMost] for a short lock, and [Claim]
// or [ClaimAtMost] for one that a whole command holds. To lock an open file or
// directory, call [Try] or [TakeWhenFree], then [Close]. A lock ends with the process
// that holds it. Waiting keeps no thread.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/regular"
)

// ErrHeld is in the chain of each error about a lock that another process
// holds.
var ErrHeld = errors.New("locked")

// Kind says who else may hold the lock at the same time.
type Kind int

// A lock has either one holder, or any number of holders that share it.
const (
	Exclusive Kind = syscall.LOCK_EX
	Shared    Kind = syscall.LOCK_SH
)

// The pause between two tries of a wait doubles from the first to the last. The
// tries do not block: a flock(2) that waits keeps a thread, and a daemon with
// one waiting for each request reaches its limit of threads and dies.
const (
	firstPause = time.Millisecond
	lastPause  = 32 * time.Millisecond
)

// Try takes the lock on f at once, or returns [ErrHeld]. If f already has a
// lock of the other kind, that lock is released first.
func Try(f *os.File, kind Kind) error {
	for {
		switch err := syscall.Flock(int(f.Fd()), int(kind)|syscall.LOCK_NB); {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("%s: %w", f.Name(), ErrHeld)
		case !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// TakeWhenFree takes the lock on f and waits for it until ctx is done. It calls
// waiting, which may be nil, once when it has to wait.
func TakeWhenFree(ctx context.Context, f *os.File, kind Kind, waiting func()) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if err := Try(f, kind); !errors.Is(err, ErrHeld) {
			return err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock %s: %w", f.Name(), context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// Close releases the lock on f and closes f. A child that another goroutine is
// starting has a copy of f until it executes its program: closing alone would
// keep the lock until then.
func Close(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// Wait takes the exclusive lock on file name, which stays, and waits for it
// until ctx is done.
func Wait(ctx context.Context, name string) (unlock func() error, err error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	if err := TakeWhenFree(ctx, f, Exclusive, nil); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { return Close(f) }, nil
}

// WaitAtMost is [Wait] that gives up after limit with [ErrHeld].
func WaitAtMost(ctx context.Context, name string, limit time.Duration) (unlock func() error, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w for more than %v", ErrHeld, limit))
	defer cancel()
	return Wait(ctx, name)
}

// Claim takes the exclusive lock on file name at once; an error with [ErrHeld]
// names the process that holds it. unlock removes the file, so that locks for
// many things leave no files.
func Claim(name string) (unlock func() error, err error) {
	for {
		unlock, isGone, err := claim(name)
		if !isGone {
			return unlock, err
		}
	}
}

// ClaimAtMost is [Claim] that tries again for limit while another process holds the lock.
// If ctx is done first, its cause is the error.
func ClaimAtMost(ctx context.Context, name string, limit time.Duration) (unlock func() error, err error) {
	ended := time.NewTimer(limit)
	defer ended.Stop()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		unlock, held := Claim(name)
		if !errors.Is(held, ErrHeld) || limit <= 0 {
			return unlock, held
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", name, context.Cause(ctx))
		case <-ended.C:
			return nil, held
		case <-time.After(pause):
		}
	}
}

// claim sets isGone if the previous holder removed the file between the open
// and the lock: the lock is then on a file that no other process can find.
func claim(name string) (unlock func() error, isGone bool, err error) {
	f, err := open(name)
	if err != nil {
		return nil, false, err
	}
	if err := Try(f, Exclusive); errors.Is(err, ErrHeld) {
		holder, _ := io.ReadAll(io.LimitReader(f, 20)) // only a name for the error
		return nil, false, errors.Join(fmt.Errorf("%w by pid %s", ErrHeld, strings.TrimSpace(string(holder))), f.Close())
	} else if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	held, err := f.Stat()
	if err != nil {
		return nil, false, errors.Join(err, Close(f))
	}
	if found, err := os.Lstat(name); err != nil || !os.SameFile(held, found) {
		return nil, true, Close(f)
	}
	if err := f.Truncate(0); err != nil {
		return nil, false, errors.Join(err, Close(f))
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return nil, false, errors.Join(err, Close(f))
	}
	// It is removed while it is held: a process that waits for it sees that it
	// is gone.
	return func() error { return errors.Join(os.Remove(name), Close(f)) }, false, nil
}

func open(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, regular.ErrNotRegular), err, f.Close())
	}
	return f, nil
}
