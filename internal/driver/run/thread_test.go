package run_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
)

// A thread that ends takes no program along that was started from it. A
// goroutine mostly waits for its child on the thread that started it, which
// then cannot end; many starts at once on one processor make it move.
func TestThreadsEnd(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const programs = 150
	var all, threads sync.WaitGroup
	done := make(chan struct{})
	threads.Go(func() {
		tick := time.NewTicker(100 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				threads.Go(func() { runtime.LockOSThread() }) // its thread ends with it
			}
		}
	})
	for range programs {
		all.Go(func() {
			if _, err := run.Run(t.Context(), run.Cmd{Path: "sleep", Args: []string{"0.5"}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	close(done)
	threads.Wait()
}
