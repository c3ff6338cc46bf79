package bootstrap

import (
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/docker"
)

// followEvery is how often the counters of a pull are passed on, also if they
// stay: whoever watches sees for how long nothing has arrived.
const followEvery = time.Second

// follower passes the counters of one pull on and notes when a byte last moved.
// newFollower starts one, stop ends it.
type follower struct {
	bytes func(done, total int64)
	ended chan struct{}
	all   sync.WaitGroup

	mu    sync.Mutex
	last  docker.Progress
	moved time.Time // zero: no byte did
}

func newFollower(bytes func(done, total int64)) *follower {
	f := &follower{bytes: bytes, ended: make(chan struct{})}
	f.all.Go(func() {
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for {
			select {
			case <-f.ended:
				return
			case <-tick.C:
				f.repeat()
			}
		}
	})
	return f
}

func (f *follower) repeat() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last.Work > 0 {
		f.bytes(f.last.Done, f.last.Total)
	}
}

// report takes new counters. A layer that only has another state has not moved.
func (f *follower) report(p docker.Progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Moved > f.last.Moved {
		f.moved = time.Now()
	}
	f.last = p
	f.bytes(p.Done, p.Total)
}

// stop returns when the last byte moved, the zero time if none did.
func (f *follower) stop() time.Time {
	close(f.ended)
	f.all.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.moved
}
