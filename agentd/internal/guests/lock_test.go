package guests_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/powercut"
)

// The lock of a node that died is waited for, in bounded time, and pmxcfs ends it.
func TestDeadNodeKeepsTheLock(t *testing.T) {
	t.Parallel()
	c := powercut.New(t)
	b := openOn(t, c.Mount(t))
	lock := filepath.Join(c.Dir, "priv/lock/felhom-guests")
	if err := os.Mkdir(lock, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := b.Mint(ctx, 8200, 100000, overlap); err == nil {
		t.Error("a change without the lock")
	}
	if info, err := os.Stat(lock); err != nil || info.ModTime().Unix() != 0 {
		t.Errorf("pmxcfs was not asked to end the lock: %v", err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	mint(t, b.Store, 8200)
	if _, err := os.Stat(lock); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock stays: %v", err)
	}
}

// A node that holds the lock for longer than pmxcfs lets it must not end the
// lock of the node that got it.
func TestALockThatAnotherNodeGotStays(t *testing.T) {
	c := powercut.New(t)
	b := openOn(t, c.Mount(t))
	mint(t, b.Store, 8200)
	lock := filepath.Join(c.Dir, "priv/lock/felhom-guests")
	for name, isTaken := range map[string]bool{"taken": true, "still its own": false} {
		err := b.Update(t.Context(), 8200, func(*guests.Record) error {
			b.clock.advance(3 * time.Minute)
			if !isTaken {
				return nil
			}
			return errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700)) // pmxcfs, and the other node
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := os.Lstat(lock); errors.Is(err, os.ErrNotExist) == isTaken {
			t.Errorf("%s: the lock: %v", name, err)
		}
		if err := os.Remove(lock); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}
