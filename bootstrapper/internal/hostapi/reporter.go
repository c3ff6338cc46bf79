// Package hostapi delivers the reports of a guest's runs to its host, through
// the client of internal/localapi: call [NewReporter], [Reporter.Begin] for each
// run and [Reporter.Close] at the end. It keeps what could not be delivered for
// the next process. It decides nothing about the run.
package hostapi

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/localapi"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// sender is what a Reporter sends through.
type sender interface {
	Report(ctx context.Context, report contract.Report) error
}

// The waits between two tries of one report. A host that was stopped for some
// seconds is reached again within about the same time.
const (
	firstPause = 250 * time.Millisecond
	mostPause  = 30 * time.Second
	// newsPause is the least wait after a failure, also if there is a new state.
	// A new state ends a longer wait: a guest whose network has just come up has
	// one, and must not wait as long as the pauses grew without a network.
	newsPause = time.Second
)

// Reporter delivers the state of each step of a run to the host, in the
// background, one report at a time, so that a slow host costs the run nothing.
// A report is a state and not an event: the newest state of each step is kept
// until the host has acknowledged it, and tried again for as long as the
// process lives; it replaces an older state of the same step. What is left of
// the previous run is delivered first. What is not delivered when a run has
// ended, or at Close, is kept in the backlog file for the next process.
//
// NewReporter makes one, Begin starts a run, Close ends it.
type Reporter struct {
	version string
	backlog string // path of the file; "": none
	now     func() time.Time
	stop    context.CancelFunc

	mu       sync.Mutex
	to       sender // nil: no host is known yet
	run      string
	sequence uint64
	pending  []contract.Report // by run, the previous one first, then by sequence
	blocked  bool              // the host refuses this guest: only a new contract helps
	kept     bool              // the backlog file exists
	keptEnd  uint64            // sequence of the end of this run that the file holds, 0: none
	refused  int
	closed   bool
	idle     chan struct{} // closed while nothing can be delivered

	wake chan struct{} // holds one token when there is something new to look at
	done chan struct{}
}

// NewReporter starts a reporter. backlog is the file that keeps what could not
// be delivered, "" for none; what an earlier process left there is taken over.
func NewReporter(backlog, version string) *Reporter {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Reporter{
		version: version, backlog: backlog, now: time.Now, stop: cancel,
		idle: make(chan struct{}), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	close(r.idle)
	r.pending, r.kept = readBacklog(backlog)
	go r.deliver(ctx)
	return r
}

// Begin starts the run with that id: what Send gets from now on belongs to it,
// and everything undelivered goes to the host that was named last. Of the
// earlier runs, only the last one is kept.
func (r *Reporter) Begin(to sender, run string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.pending); n > 0 {
		last := r.pending[n-1].Run
		r.pending = slices.DeleteFunc(r.pending, func(old contract.Report) bool { return old.Run != last })
	}
	r.to, r.run, r.sequence, r.keptEnd, r.blocked = to, run, 0, 0, false
	r.settle()
	r.signal()
}

// Send sets the state of a step. Run, sequence, time and version are filled in.
func (r *Reporter) Send(report contract.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.to == nil {
		return
	}
	r.sequence++
	report.Run, report.Sequence, report.Time, report.Version = r.run, r.sequence, r.now().UTC(), r.version
	report.Message, report.Hint = cut(report.Message), cut(report.Hint)
	r.pending = slices.DeleteFunc(r.pending, func(old contract.Report) bool {
		return old.Run == report.Run && old.Step == report.Step
	})
	r.pending = append(r.pending, report)
	r.settle()
	r.signal()
}

// Idle returns a channel that is closed while there is nothing to deliver, or
// nothing that this host would take from this guest.
func (r *Reporter) Idle() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.idle
}

// Close waits until all is delivered, at most for limit, writes the rest to the
// backlog file, and returns the number of its states. Send does nothing
// afterwards.
func (r *Reporter) Close(limit time.Duration) (undelivered int, err error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-r.Idle():
	case <-timer.C:
	}
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	<-r.done
	return len(r.pending), r.keep()
}

// deliver sends what is pending until ctx ends.
func (r *Reporter) deliver(ctx context.Context) {
	defer close(r.done)
	pause := firstPause
	for {
		to, report, ok := r.next()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-r.wake:
			}
			continue
		}
		err := to.Report(ctx, report)
		if ctx.Err() != nil && err != nil {
			return
		}
		wait, asked := r.answered(to, report, err, pause)
		if wait == 0 {
			pause = firstPause
			continue
		}
		pause = min(pause*2, mostPause)
		if !r.rest(ctx, wait, asked) {
			return
		}
	}
}

// rest waits before the next try. A new state shortens the wait, unless the host
// asked for it. It reports whether ctx continues.
func (r *Reporter) rest(ctx context.Context, wait time.Duration, asked bool) bool {
	began := time.Now()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-r.wake:
			if !asked {
				timer.Reset(max(0, min(wait, newsPause)-time.Since(began)))
			}
		}
	}
}

// next returns the first state that is not delivered.
func (r *Reporter) next() (sender, contract.Report, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 || r.blocked || r.to == nil {
		return nil, contract.Report{}, false
	}
	return r.to, r.pending[0], true
}

// answered takes the host's answer to a report. It returns how long to wait
// before the next try, 0 for none, and whether the host asked for that wait.
func (r *Reporter) answered(to sender, report contract.Report, err error, pause time.Duration) (wait time.Duration, asked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.settle()
	switch localapi.ClassOf(err) {
	case localapi.None:
	case localapi.OtherHost, localapi.NoToken, localapi.OtherGuest:
		if to == r.to { // not if Begin has named another host since
			r.blocked = true
			r.record()
		}
		return 0, false
	case localapi.Refused:
		r.refused++ // the host will never accept it, and it must not hold up the others
	default:
		r.record()
		if status, ok := errors.AsType[*localapi.StatusError](err); ok && status.RetryAfter > 0 {
			return max(pause, status.RetryAfter), true
		}
		return pause, false
	}
	r.pending = slices.DeleteFunc(r.pending, func(p contract.Report) bool {
		return p.Run == report.Run && p.Sequence == report.Sequence
	})
	if len(r.pending) == 0 && r.kept {
		_ = r.keep() // if the file stays, it is delivered twice, which changes nothing
	}
	return 0, false
}

// record writes the backlog as soon as the end of a run is among the
// undelivered states, so that a process that is killed afterwards does not lose
// it.
func (r *Reporter) record() {
	end := slices.IndexFunc(r.pending, func(p contract.Report) bool { return p.Step == contract.StepRun && p.Run == r.run })
	if end < 0 || r.pending[end].Sequence == r.keptEnd {
		return
	}
	if r.keep() == nil { // tried again at Close, which returns the error
		r.keptEnd = r.pending[end].Sequence
	}
}

// keep makes the backlog file hold what is pending.
func (r *Reporter) keep() error {
	if r.backlog == "" {
		return nil
	}
	err := writeBacklog(r.backlog, r.pending)
	if err == nil {
		r.kept = len(r.pending) > 0
	}
	return err
}

// settle closes or renews idle, which is open while something can be delivered.
func (r *Reporter) settle() {
	busy := len(r.pending) > 0 && !r.blocked && r.to != nil
	select {
	case <-r.idle:
		if busy {
			r.idle = make(chan struct{})
		}
	default:
		if !busy {
			close(r.idle)
		}
	}
}

func (r *Reporter) signal() {
	select {
	case r.wake <- struct{}{}:
	default: // there is a token already
	}
}

// maxEncoded is the limit of message and of hint in a report's JSON, where one
// byte of text can become six. The rest is for the other members.
const maxEncoded = contract.MaxReportBytes * 7 / 16

// cut shortens text to what a report may hold, also when it is encoded. A host refuses
// NUL for good, and counts three bytes for each one that is not UTF-8.
func cut(text string) string {
	valid := string([]rune(termtext.Cut(text, contract.MaxMessageBytes)))
	text = termtext.Cut(strings.ReplaceAll(valid, "\x00", "\uFFFD"), contract.MaxMessageBytes)
	for {
		if raw, err := json.Marshal(text); err != nil || len(raw) <= maxEncoded {
			return text // strings can always be encoded
		}
		text = termtext.Cut(text, len(text)*3/4)
	}
}
