// Package lock owns the advisory locks by which two felhom-agentd processes of
// one node keep out of each other's way. A lock is on a file of its own, which
// stays; it ends with its holder, however that ends.
package lock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrHeld says that another process has the lock.
var ErrHeld = errors.New("locked")

// Wait takes the lock on file name, waiting for it until ctx is done.
func Wait(ctx context.Context, name string) (unlock func() error, err error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	go func() { locked <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		return release(f), nil
	case <-ctx.Done():
		// flock uses the descriptor until it returns; a lock that it then gets
		// is given back at once.
		go func() {
			if <-locked == nil {
				_ = release(f)()
			}
		}()
		return nil, fmt.Errorf("lock %s: %w", name, context.Cause(ctx))
	}
}

// Claim takes the lock at once or says with ErrHeld which process has it.
func Claim(name string) (unlock func() error, err error) {
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		holder, _ := io.ReadAll(io.LimitReader(f, 20)) // a name for the error, no more
		return nil, errors.Join(fmt.Errorf("%w by pid %s", ErrHeld, strings.TrimSpace(string(holder))), f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return release(f), nil
}

// release returns what unlocks f and closes it. A child that another goroutine
// is starting has a copy of f until it executes its program: closing alone would
// leave the lock held for so long.
func release(f *os.File) func() error {
	return func() error { return errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_UN), f.Close()) }
}

func open(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
}
