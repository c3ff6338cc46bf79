package hostapi

import (
	"context"
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

// Reporter sends reports in their order, one at a time, in the background. A
// host that does not answer costs the run nothing: after the first report that
// could not be delivered the rest of a queue is dropped, the next one tries again.
type Reporter struct {
	run     string
	version string
	now     func() time.Time

	mu       sync.Mutex
	sequence uint64
	queue    chan contract.Report
	done     chan struct{}
	closed   bool
	lost     int
}

// NewReporter starts a reporter for the run of that id. Close ends it.
func NewReporter(ctx context.Context, to sender, run, version string) *Reporter {
	r := &Reporter{
		run: run, version: version, now: time.Now,
		queue: make(chan contract.Report, queueLength), done: make(chan struct{}),
	}
	go r.deliver(ctx, to)
	return r
}

func (r *Reporter) deliver(ctx context.Context, to sender) {
	defer close(r.done)
	for report := range r.queue {
		if err := to.Report(ctx, report); err != nil {
			r.mu.Lock()
			r.lost++
			r.mu.Unlock()
		}
	}
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
	select {
	case r.queue <- report:
	default:
		r.lost++
	}
}

// Close waits until all is sent, at most for limit, and returns how many
// reports did not arrive.
func (r *Reporter) Close(limit time.Duration) (lost int) {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
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
	text = text[:contract.MaxMessageBytes-len(mark)]
	for len(text) > 0 && text[len(text)-1]&0xc0 == 0x80 {
		text = text[:len(text)-1]
	}
	if n := len(text); n > 0 && text[n-1] >= 0xc0 {
		text = text[:n-1]
	}
	return text + mark
}
