// Package bootstrap owns the steps that turn a bootstrap.json into a running,
// healthy controller: mount, then channel and settings while the engine comes up,
// then image, container, ready. Each step is safe to repeat and reports whether it found anything to do.
// The package decides what a failure means for the run; it knows interfaces
// and not Docker's API, and it writes to no terminal, journal or host.
package bootstrap

import (
	"context"
	"errors"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Outcome is what a step did.
type Outcome string

// The outcomes of a step.
const (
	Unchanged Outcome = "unchanged" // everything was as it must be
	Changed   Outcome = "changed"   // made or replaced
	Repaired  Outcome = "repaired"  // existed, did not work, works now
	Degraded  Outcome = "degraded"  // continued without it; the message names what is missing
	Failed    Outcome = "failed"    // ended the run
)

// Observer follows a run. Its methods are called from several goroutines, must
// not block for long and cannot fail the run.
type Observer interface {
	Started(step contract.Step)
	Note(step contract.Step, text string)
	Bytes(step contract.Step, done, total int64) // total is 0 if it is not known
	Ended(StepResult)
}

// StepResult is how a step ended.
type StepResult struct {
	Step     contract.Step
	Outcome  Outcome
	Started  time.Time
	Duration time.Duration
	Message  string // one line, no secret; may be empty
	Hint     string // what to do about a failed or degraded step; may be empty
	Class    fault.Kind
}

// outcome is the result of a step that did not fail.
type outcome struct {
	Outcome Outcome
	Message string
	Hint    string
}

// backoff is the wait between two tries: first, then doubled up to most.
type backoff struct {
	first, most time.Duration
	next        time.Duration
}

// errStale ends a wait because the input has changed.
var errStale = errors.New("the input has changed")

// wait returns the context's error if that ends first, and errStale if stale is
// closed. A floor, such as a registry's Retry-After, lengthens this one wait.
func (b *backoff) wait(ctx context.Context, floor time.Duration, stale <-chan struct{}) error {
	if b.next == 0 {
		b.next = b.first
	}
	pause := max(b.next, floor)
	b.next = min(b.next*2, b.most)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-stale:
		return errStale
	case <-timer.C:
		return nil
	}
}
