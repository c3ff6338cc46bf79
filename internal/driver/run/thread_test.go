package run_test

import (
	"runtime"
	"sync"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver/run"
)

// A thread that ends takes no program along that was started from it.
func TestThreadsEnd(t *testing.T) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := run.Run(t.Context(), run.Cmd{Path: "sleep", Args: []string{"0.5"}}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 400 {
		all.Go(func() { runtime.LockOSThread() }) // its thread ends with it
		runtime.Gosched()
	}
	all.Wait()
}
