package filelock_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/filelock"
)

// A waiter in flock(2) has a thread of its own: with a limit of threads, as in
// the daemon's unit, a crowd of them ends the process.
func TestWaitingHoldsNoThread(t *testing.T) {
	name := filepath.Join(t.TempDir(), "l")
	unlock, err := filelock.Wait(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	const waiters = 300
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range waiters {
		waiting.Go(func() {
			if unlock, err := filelock.Wait(ctx, name); err == nil {
				_ = unlock()
			}
		})
	}
	most := 0
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for range 50 {
		<-ticks.C
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, len(threads))
	}
	cancel()
	waiting.Wait()
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if most > waiters/3 {
		t.Errorf("%d threads for %d waiters", most, waiters)
	}
}

func TestAClaimLeavesNoFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "l")
	var busy sync.WaitGroup
	var inside, most int
	var mu sync.Mutex
	count := func(by int) { mu.Lock(); inside += by; most = max(most, inside); mu.Unlock() }
	for range 8 {
		busy.Go(func() {
			for range 200 {
				unlock, err := filelock.Claim(name)
				if err != nil {
					continue // held
				}
				count(1)
				count(-1)
				if err := unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	busy.Wait()
	if most != 1 {
		t.Errorf("%d held the lock at once, want 1", most)
	}
	if _, err := os.Lstat(name); !os.IsNotExist(err) {
		t.Errorf("the lock file stays: %v", err)
	}
}
