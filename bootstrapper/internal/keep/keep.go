// Package keep owns when a run of the bootstrap is tried again: what may pass is
// tried at growing intervals, what the host changes is tried at once, and what no
// later try can change ends it. It knows nothing of what a run does, and starts
// no second one beside the first.
package keep

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/watch"
	"github.com/felhom/felhom-golden/internal/fault"
)

// How long is waited.
const (
	first = 5 * time.Second
	most  = 5 * time.Minute // a guest whose host was repaired is up again within it
	// slow is the least wait after a failure that is likely to need a person.
	slow = time.Minute
	// settle is how long after a change the program stays, at the least: systemd
	// watches the same files, and its start must find this one still under way or
	// it would be a second run for one cause.
	settle = 250 * time.Millisecond
	// grace is how long a mount that went may take to come back: being plugged in
	// again is one cause as well.
	grace = 500 * time.Millisecond
	// prompt is how long a host that is well may take for the last reports.
	prompt = time.Second
)

// Source tells what is in the mount. *watch.Watcher is one.
type Source interface {
	Changes() <-chan struct{}
	Look() watch.State
}

// End is how a run ended.
type End struct {
	Err       error
	Unreached bool // it ended well, but without the host
	// Blind: it failed on a file that this guest may not open. systemd can no more
	// watch such a file than read it, so that nobody but us sees the host mend it.
	Blind bool
	// Owed is closed when the host knows how the run ended, or cannot be told; nil:
	// there is nothing to tell.
	Owed <-chan struct{}
}

// Try is one run among several.
type Try struct {
	Number int // from 1
	// Stale is closed when the host has changed something since the run began:
	// a wait within the run is better ended.
	Stale <-chan struct{}
	plan  func(End) time.Duration
}

// Next returns after how long the next try comes if nothing changes before, for a
// run that ends so; 0: none comes.
func (t Try) Next(e End) time.Duration { return t.plan(e) }

// Loop runs until there is nothing left to try.
type Loop struct {
	Source Source
	// HostPatience bounds tries for the host's sake alone: the controller runs, and
	// a host without the local API is a supported one.
	HostPatience time.Duration
	Run          func(context.Context, Try) End
	// Waiting is told before each wait: how the run ended, and for how long.
	Waiting func(End, time.Duration)
	// Owing is told when nothing is left to try, but the host is still to be told.
	Owing func(End)
	// Gone is told when the mount was taken away while something was to be tried.
	Gone func(End)
	// Jitter spreads a wait, so that the guests of one host do not come all at
	// once; nil takes up to a tenth away.
	Jitter func(time.Duration) time.Duration

	pause     time.Duration // the next one; 0: first
	unreached time.Time     // of the first run without the host; zero: it was reached
	news      time.Time     // when the host last changed something; zero: never yet
}

// Do returns how the last run ended; nil where the mount was taken away.
func (l *Loop) Do(ctx context.Context) error {
	present := false
	for number := 1; ; number++ {
		seen := l.Source.Look()
		present = present || seen.Present()
		end, next := l.try(ctx, number, seen)
		if ctx.Err() != nil {
			return end.Err
		}
		if next > 0 && !present {
			return end.Err // there never was anything to wait for
		}
		left := next
		if next == 0 {
			left = l.settling()
		}
		var owed <-chan struct{}
		if next == 0 && l.owes(end) {
			owed, left = end.Owed, max(left, l.patience())
		}
		if next > 0 && l.Source.Look() == seen {
			l.Waiting(end, next)
		}
		now, err := l.wait(ctx, seen, left, owed)
		switch {
		case err != nil && next == 0:
			return end.Err // it had ended
		case err != nil:
			return err
		case now == seen && next == 0:
			return end.Err
		case now == seen: // the wait is over
		case now.Present():
			l.pause, l.unreached = 0, time.Time{}
		case next == 0:
			return end.Err
		default:
			if now, err = l.wait(ctx, now, grace, nil); err != nil {
				return err
			}
			if !now.Present() {
				l.Gone(end)
				return nil
			}
			l.pause, l.unreached = 0, time.Time{}
		}
	}
}

// try makes one run and watches the source meanwhile.
func (l *Loop) try(ctx context.Context, number int, seen watch.State) (End, time.Duration) {
	stale, over, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-over:
				return
			case <-l.Source.Changes():
			}
			if l.Source.Look() != seen {
				l.news = time.Now()
				close(stale)
				return
			}
		}
	}()
	planned := false
	var next time.Duration
	plan := func(e End) time.Duration {
		if !planned {
			planned, next = true, l.plan(e)
		}
		return next
	}
	end := l.Run(ctx, Try{Number: number, Stale: stale, plan: plan})
	close(over)
	<-stopped
	return end, plan(end)
}

// wait returns what is in the source once that differs from seen, after limit, or
// when over is closed; a nil one never is.
func (l *Loop) wait(ctx context.Context, seen watch.State, limit time.Duration, over <-chan struct{}) (watch.State, error) {
	timer := time.NewTimer(max(limit, 0))
	defer timer.Stop()
	for {
		if now := l.Source.Look(); now != seen {
			l.news = time.Now()
			return now, nil
		}
		select {
		case <-ctx.Done():
			return seen, ctx.Err()
		case <-timer.C:
			return l.look(seen), nil
		case <-over:
			// A change that was just made must still find this process.
			over = nil
			timer.Reset(l.settling())
		case <-l.Source.Changes():
		}
	}
}

// look returns what is in the source, and notes when that is news.
func (l *Loop) look(seen watch.State) watch.State {
	now := l.Source.Look()
	if now != seen {
		l.news = time.Now()
	}
	return now
}

// settling returns what is left of the time to stay after the last change.
func (l *Loop) settling() time.Duration {
	if l.news.IsZero() {
		return 0
	}
	return max(0, settle-time.Since(l.news))
}

// owes reports whether the host is still to be told how the run ended, after a
// moment in which a host that is well has answered; then Owing is told.
func (l *Loop) owes(e End) bool {
	if e.Owed == nil || l.patience() <= 0 {
		return false
	}
	timer := time.NewTimer(prompt)
	defer timer.Stop()
	select {
	case <-e.Owed:
		return false
	case <-timer.C:
	}
	l.Owing(e)
	return true
}

// patience returns for how long the host's sake still is a reason to stay.
func (l *Loop) patience() time.Duration {
	if l.unreached.IsZero() {
		return l.HostPatience
	}
	return l.HostPatience - time.Since(l.unreached)
}

func (l *Loop) plan(e End) time.Duration {
	pause := max(l.pause, first)
	switch fault.Of(e.Err) {
	case fault.None:
		if !e.Unreached {
			return 0
		}
		if l.unreached.IsZero() {
			l.unreached = time.Now()
		}
		if time.Since(l.unreached)+pause > l.HostPatience {
			return 0
		}
	case fault.NotReady:
	case fault.Failed:
		pause = max(pause, slow)
	default:
		if !e.Blind {
			return 0
		}
		pause = most
	}
	l.pause = min(max(l.pause, first)*2, most)
	if l.Jitter != nil {
		return l.Jitter(pause)
	}
	return pause - time.Duration(rand.Int64N(int64(pause/10)))
}
