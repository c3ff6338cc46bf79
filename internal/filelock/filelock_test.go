package filelock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-golden/internal/filelock"
)

func TestClaim(t *testing.T) {
	name := filepath.Join(t.TempDir(), "l")
	unlock, err := filelock.Claim(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = filelock.Claim(name)
	if !errors.Is(err, filelock.ErrHeld) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
		t.Errorf("error %v, want ErrHeld with the holder's pid", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	unlock, err = filelock.Claim(name)
	if err != nil {
		t.Fatalf("after its release: %v", err)
	}
	_ = unlock()
}

// A claim that another process gives up in time is taken, on a file that others find; one
// that it keeps is refused with its name.
func TestClaimAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 2 * time.Second
		name := filepath.Join(t.TempDir(), "l")
		unlock, err := filelock.Claim(name)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = filelock.ClaimAtMost(t.Context(), name, limit)
		if took := time.Since(start); !errors.Is(err, filelock.ErrHeld) || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) || took != limit {
			t.Errorf("a held claim: %v after %v, want ErrHeld with the holder's pid after %v", err, took, limit)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := filelock.ClaimAtMost(ctx, name, limit); !errors.Is(err, context.Canceled) || errors.Is(err, filelock.ErrHeld) {
			t.Errorf("a canceled wait: %v, want context.Canceled", err)
		}
		released := make(chan error, 1)
		time.AfterFunc(limit/2, func() { released <- unlock() })
		again, err := filelock.ClaimAtMost(t.Context(), name, limit)
		if err != nil {
			t.Fatalf("a claim that is given up: %v", err)
		}
		if err := <-released; err != nil {
			t.Error(err)
		}
		if _, err := filelock.Claim(name); !errors.Is(err, filelock.ErrHeld) {
			t.Errorf("beside it: %v, want ErrHeld", err)
		}
		if err := again(); err != nil {
			t.Error(err)
		}
	})
}

func TestWait(t *testing.T) {
	name := filepath.Join(t.TempDir(), "l")
	unlock, err := filelock.Claim(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := filelock.Wait(ctx, name); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want DeadlineExceeded", err)
	}
	got := make(chan error, 1)
	go func() {
		unlock, err := filelock.Wait(t.Context(), name)
		if err == nil {
			err = unlock()
		}
		got <- err
	}()
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("waiting for a lock that is released: %v", err)
	}
}

// A wait that is not the caller's whole life ends with ErrHeld, and one whose
// context ends first with that context's error.
func TestWaitAtMost(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := filelock.Wait(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filelock.WaitAtMost(t.Context(), name, 50*time.Millisecond); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("a held lock: %v, want ErrHeld", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := filelock.WaitAtMost(ctx, name, time.Minute); !errors.Is(err, context.Canceled) || errors.Is(err, filelock.ErrHeld) {
		t.Errorf("a canceled wait: %v, want context.Canceled", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	unlock, err = filelock.WaitAtMost(t.Context(), name, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}
