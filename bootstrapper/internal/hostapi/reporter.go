package hostapi

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// sender is what a Reporter sends through.
type sender interface {
	Report(ctx context.Context, report contract.Report) error
}

// queueLength bounds the reports that wait for a slow host; a run has about
// twenty. More are dropped: reports are news, not a record.
const queueLength = 64

// Reporter sends reports in their order, one at a time, in the background, so
// that a slow host costs the run nothing. A report that is no news anymore when
// its turn comes, "started" of a step that has ended since, is not sent.
type Reporter struct {
	run     string
	version string
	now     func() time.Time

	mu       sync.Mutex
	sequence uint64
	queue    []contract.Report
	closed   bool
	lost     int

	wake chan struct{} // holds one token when the queue has grown or is closed
	done chan struct{}
}

// NewReporter starts a reporter for the run of that id. Close ends it.
func NewReporter(ctx context.Context, to sender, run, version string) *Reporter {
	r := &Reporter{
		run: run, version: version, now: time.Now,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go r.deliver(ctx, to)
	return r
}

func (r *Reporter) deliver(ctx context.Context, to sender) {
	defer close(r.done)
	for range r.wake {
		for {
			report, ok, closed := r.next()
			if !ok {
				if closed {
					return
				}
				break
			}
			if err := to.Report(ctx, report); err != nil {
				r.mu.Lock()
				r.lost++
				r.mu.Unlock()
			}
		}
	}
}

func (r *Reporter) next() (report contract.Report, ok, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		return contract.Report{}, false, r.closed
	}
	report = r.queue[0]
	r.queue = r.queue[1:]
	return report, true, r.closed
}

// Send queues a report. Run, sequence, time and version are filled in.
func (r *Reporter) Send(report contract.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.sequence++
	report.Run, report.Sequence, report.Time, report.Version = r.run, r.sequence, r.now().UTC(), r.version
	report.Message, report.Hint = cut(report.Message), cut(report.Hint)
	if report.State != contract.StateStarted {
		r.queue = slices.DeleteFunc(r.queue, func(old contract.Report) bool {
			return old.Step == report.Step && old.State == contract.StateStarted
		})
	}
	if len(r.queue) >= queueLength {
		r.lost++
		return
	}
	r.queue = append(r.queue, report)
	r.signal()
}

func (r *Reporter) signal() {
	select {
	case r.wake <- struct{}{}:
	default: // there is a token already
	}
}

// Close waits until all is sent, at most for limit, and returns how many
// reports did not arrive.
func (r *Reporter) Close(limit time.Duration) (lost int) {
	r.mu.Lock()
	r.closed = true
	r.signal()
	r.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-r.done:
	case <-timer.C:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost + len(r.queue)
}

// cut shortens text to what a report may hold, at a rune's border.
func cut(text string) string {
	if len(text) <= contract.MaxMessageBytes {
		return text
	}
	const mark = "…"
	end := contract.MaxMessageBytes - len(mark)
	for end > 0 && text[end]&0xc0 == 0x80 { // inside a rune
		end--
	}
	return text[:end] + mark
}
