// Package retry decides when a run of the bootstrap is tried again: what may pass
// is tried at growing intervals, what the host changes is tried at once, and what
// no later try can change ends it. Make a [Loop] with [New] and call [Loop.Run].
// It knows nothing of what a run does, and never starts a second one beside the
// first.
package retry

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/watch"
	"github.com/felhom/felhom-golden/internal/fault"
)

// The waits.
const (
	firstPause = 5 * time.Second
	mostPause  = 5 * time.Minute // a guest recovers within it after its host was repaired
	// slowPause is the least wait after a failure that a person most likely has to
	// correct.
	slowPause = time.Minute
	// settleTime is how long the program stays at least after a change: systemd
	// watches the same files, and would start a second run for the same change if
	// this process had ended.
	settleTime = 250 * time.Millisecond
	// returnTime is how long a mount that is gone may take to come back: unplugging
	// and plugging in again is one change.
	returnTime = 500 * time.Millisecond
	// promptTime is how long a healthy host may take for the last reports.
	promptTime = time.Second
)

// Source reads what is in the mount. *watch.Watcher implements it.
type Source interface {
	// Changes returns a channel that receives when there may be something new.
	Changes() <-chan struct{}
	// Look returns what is in the mount now.
	Look() watch.State
}

// End is how a run ended.
type End struct {
	Err       error // nil: it succeeded
	Unreached bool  // it succeeded, but without the host
	// Blind reports that it failed on a file that this guest must not open. systemd
	// cannot watch such a file either, so the loop waits for the host to correct it.
	Blind bool
	// Owed is closed when the host knows how the run ended, or can never know. Nil
	// means that there is no report.
	Owed <-chan struct{}
	// Recovered is closed when what the run waited for has happened without a new
	// try, so that the next one is due at once. Nil means that nothing is watched.
	Recovered <-chan struct{}
}

// Try is one run among several.
type Try struct {
	Number int // from 1
	// Stale is closed when the host has changed something since the run began: a
	// wait within the run should end then.
	Stale <-chan struct{}
	plan  func(End) time.Duration
}

// Next returns how long after a run with that end the next try comes if nothing
// changes before; 0 means that none comes.
func (t Try) Next(e End) time.Duration { return t.plan(e) }

// Options configure a Loop. Source and Run are required.
type Options struct {
	Source Source
	Run    func(context.Context, Try) End
	// HostPatience bounds the tries, and the stay, whose only purpose is to
	// reach the host: the controller runs, and a host without the local API is
	// supported.
	HostPatience time.Duration
	// Waiting is called before each wait for another try; nil does nothing.
	Waiting func(End, time.Duration)
	// Owing is called when nothing is left to try, but the host does not know
	// the end of the run yet; nil does nothing.
	Owing func(End)
	// Recovered is called when End.Recovered ended a wait; nil does nothing.
	Recovered func(End)
	// Gone is called when the mount was removed while there was something to try;
	// nil does nothing.
	Gone func(End)
	// Jitter spreads a wait, so that the guests of one host do not come at the same
	// time; nil subtracts up to a tenth.
	Jitter func(time.Duration) time.Duration
}

// phase is what a Loop is doing.
type phase int

// The phases. Each has a method that returns the next one.
const (
	trying    phase = iota // a run is in progress
	waiting                // the next try is due after a pause, or when the mount changes
	owing                  // nothing is left to try, and the host does not know the end of the run yet
	settling               // nothing is left to do; a change that was just made must still find this process
	unplugged              // the mount is gone, with something left to try, and may come back
	over                   // Run returns
)

// Loop runs until there is nothing left to try. Use it once, from one goroutine.
type Loop struct {
	o      Options
	phase  phase
	result error // what Run returns

	number    int         // of the last try
	seen      watch.State // what the mount had when the last try began
	wasThere  bool        // the mount has existed
	end       End         // how the last try ended
	next      time.Duration
	pause     time.Duration // the next one; 0: firstPause
	unreached time.Time     // time of the first try without the host; zero: the host was reached
	news      time.Time     // when the host last changed something; zero: never
}

// New returns a Loop that has not started.
func New(o Options) *Loop {
	if o.Waiting == nil {
		o.Waiting = func(End, time.Duration) {}
	}
	if o.Owing == nil {
		o.Owing = func(End) {}
	}
	if o.Recovered == nil {
		o.Recovered = func(End) {}
	}
	if o.Gone == nil {
		o.Gone = func(End) {}
	}
	if o.Jitter == nil {
		o.Jitter = func(pause time.Duration) time.Duration { return pause - time.Duration(rand.Int64N(int64(pause/10))) }
	}
	return &Loop{o: o}
}

// Run returns how the last try ended, and nil if the mount was removed. If ctx ends
// between two tries it returns the context's error.
func (l *Loop) Run(ctx context.Context) error {
	for l.phase != over {
		switch l.phase {
		case trying:
			l.phase = l.try(ctx)
		case waiting:
			l.phase = l.wait(ctx)
		case owing:
			l.phase = l.stay(ctx, l.patience(), l.end.Owed)
		case settling:
			l.phase = l.stay(ctx, 0, nil)
		case unplugged:
			l.phase = l.awaitReturn(ctx)
		case over:
		}
	}
	return l.result
}

// finish ends the loop with err.
func (l *Loop) finish(err error) phase {
	l.result = err
	return over
}

// try makes one run.
func (l *Loop) try(ctx context.Context) phase {
	l.number++
	l.seen = l.o.Source.Look()
	l.wasThere = l.wasThere || l.seen.Present()
	l.end, l.next = l.run(ctx)
	switch {
	case ctx.Err() != nil:
		return l.finish(l.end.Err)
	case l.next > 0 && !l.wasThere: // the mount never existed, so there is nothing to wait for
		return l.finish(l.end.Err)
	case l.next > 0:
		return waiting
	case l.owes():
		return owing
	}
	return settling
}

// run makes one run and watches the mount meanwhile. It returns the end of the run
// and the pause after it.
func (l *Loop) run(ctx context.Context) (End, time.Duration) {
	stale, done, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-l.o.Source.Changes():
			}
			if l.o.Source.Look() != l.seen {
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
	end := l.o.Run(ctx, Try{Number: l.number, Stale: stale, plan: plan})
	close(done)
	<-stopped
	return end, plan(end)
}

// plan returns the pause after a run, and 0 if there is nothing left to try.
func (l *Loop) plan(e End) time.Duration {
	pause := max(l.pause, firstPause)
	switch fault.Of(e.Err) {
	case fault.None:
		if !e.Unreached {
			return 0
		}
		if l.unreached.IsZero() {
			l.unreached = time.Now()
		}
		if time.Since(l.unreached)+pause > l.o.HostPatience {
			return 0
		}
	case fault.NotReady, fault.Busy:
	case fault.Failed:
		pause = max(pause, slowPause)
	default:
		if !e.Blind {
			return 0
		}
		pause = mostPause
	}
	l.pause = min(max(l.pause, firstPause)*2, mostPause)
	return l.o.Jitter(pause)
}

// wait waits for the next try.
func (l *Loop) wait(ctx context.Context) phase {
	if l.o.Source.Look() == l.seen {
		l.o.Waiting(l.end, l.next)
	}
	now, err := l.await(ctx, l.seen, l.next, l.end.Recovered, 0)
	switch {
	case err != nil:
		return l.finish(err)
	case now == l.seen:
		select {
		case <-l.end.Recovered:
			l.o.Recovered(l.end)
		default:
		}
		return trying
	case now.Present():
		return l.again()
	}
	l.seen = now
	return unplugged
}

// again starts over with a mount that has changed.
func (l *Loop) again() phase {
	l.pause, l.unreached = 0, time.Time{}
	return trying
}

// awaitReturn waits for a mount that is gone to come back.
func (l *Loop) awaitReturn(ctx context.Context) phase {
	now, err := l.await(ctx, l.seen, returnTime, nil, 0)
	switch {
	case err != nil:
		return l.finish(err)
	case now.Present():
		return l.again()
	}
	l.o.Gone(l.end)
	return l.finish(nil)
}

// stay waits until told is closed, for at most limit, and at least for the rest of
// the settling time. Only a change of the mount leads to another try.
func (l *Loop) stay(ctx context.Context, limit time.Duration, told <-chan struct{}) phase {
	now, err := l.await(ctx, l.seen, max(limit, l.unsettled()), told, settleTime)
	if err == nil && now != l.seen && now.Present() {
		return l.again()
	}
	return l.finish(l.end.Err)
}

// await returns what is in the mount as soon as it differs from seen, after limit,
// or when early is closed and settle has passed since the last change. A nil early
// is never closed.
func (l *Loop) await(ctx context.Context, seen watch.State, limit time.Duration, early <-chan struct{}, settle time.Duration) (watch.State, error) {
	timer := time.NewTimer(max(limit, 0))
	defer timer.Stop()
	for {
		if now := l.look(seen); now != seen {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return seen, ctx.Err()
		case <-timer.C:
			return l.look(seen), nil
		case <-early:
			early = nil
			timer.Reset(min(settle, l.unsettled()))
		case <-l.o.Source.Changes():
		}
	}
}

// look returns what is in the mount, and remembers the time if it differs from seen.
func (l *Loop) look(seen watch.State) watch.State {
	now := l.o.Source.Look()
	if now != seen {
		l.news = time.Now()
	}
	return now
}

// unsettled returns the rest of the time to stay after the last change.
func (l *Loop) unsettled() time.Duration {
	if l.news.IsZero() {
		return 0
	}
	return max(0, settleTime-time.Since(l.news))
}

// owes waits for as long as a healthy host needs to answer, and reports whether
// the host still does not know how the run ended. If so, it calls Owing.
func (l *Loop) owes() bool {
	if l.end.Owed == nil || l.patience() <= 0 {
		return false
	}
	timer := time.NewTimer(promptTime)
	defer timer.Stop()
	select {
	case <-l.end.Owed:
		return false
	case <-timer.C:
	}
	l.o.Owing(l.end)
	return true
}

// patience returns for how long reaching the host is still a reason to stay.
func (l *Loop) patience() time.Duration {
	if l.unreached.IsZero() {
		return l.o.HostPatience
	}
	return l.o.HostPatience - time.Since(l.unreached)
}
