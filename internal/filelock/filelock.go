// Package lock owns the advisory locks by which felhom-agentd processes of one
// node keep out of each other's way: [Wait] for a short one, [Claim] for one
// that a whole command holds. A lock is on a file of its own and ends with its
// holder, however that ends. Waiting holds no thread.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/regular"
)

// ErrHeld says that another process has the lock.
var ErrHeld = errors.New("locked")

// The pause between two tries of [Wait] doubles from the first to the last. The
// tries do not block: flock(2) that waits keeps a thread, and a daemon that has
// one waiting for each request reaches its limit of threads and dies.
const (
	firstPause = time.Millisecond
	lastPause  = 32 * time.Millisecond
)

// Wait takes the lock on file name, which stays, and waits for it until ctx is
// done.
func Wait(ctx context.Context, name string) (unlock func() error, err error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := flock(f)
		if err == nil {
			return release(f), nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, context.Cause(ctx)), f.Close())
		case <-time.After(pause):
		}
	}
}

// Claim takes the lock at once, or says with [ErrHeld] which process has it.
// unlock removes the file, so that a lock for each of many things leaves nothing.
func Claim(name string) (unlock func() error, err error) {
	for {
		unlock, isGone, err := claim(name)
		if !isGone {
			return unlock, err
		}
	}
}

// claim reports with isGone that the holder before removed the file between the
// open and the lock: the lock is then on a file that nobody else can find.
func claim(name string) (unlock func() error, isGone bool, err error) {
	f, err := open(name)
	if err != nil {
		return nil, false, err
	}
	switch err := flock(f); {
	case errors.Is(err, unix.EWOULDBLOCK):
		holder, _ := io.ReadAll(io.LimitReader(f, 20)) // a name for the error, no more
		return nil, false, errors.Join(fmt.Errorf("%w by pid %s", ErrHeld, strings.TrimSpace(string(holder))), f.Close())
	case err != nil:
		return nil, false, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	held, err := f.Stat()
	if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	if found, err := os.Lstat(name); err != nil || !os.SameFile(held, found) {
		return nil, true, f.Close()
	}
	if err := f.Truncate(0); err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	// Removed while it is held: who waits for it sees that it is gone.
	return func() error { return errors.Join(os.Remove(name), release(f)()) }, false, nil
}

func flock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// release returns what unlocks f and closes it. A child that another goroutine
// is starting has a copy of f until it executes its program: closing alone would
// leave the lock held for so long.
func release(f *os.File) func() error {
	return func() error { return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close()) }
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
