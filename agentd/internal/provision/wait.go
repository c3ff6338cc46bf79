package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Wait waits until the guest of r reports that its bootstrap is done. Reports
// from before r do not count; a guest that was left unchanged and had reported so
// is up. It notes failures after which the guest tries again; a final failure
// ends the wait, and so does a guest that stops. The guest stays as it is.
func (p *Provisioner) Wait(ctx context.Context, vmid int, r Result, limit time.Duration) error {
	if r.Last != nil {
		if done, ok := isUp(*r.Last); ok {
			return p.step(vmid, StepReport, func() (StepResult, error) {
				age := p.options.Now().Sub(done.Received).Round(time.Second)
				return StepResult{Word: "unchanged", Detail: fmt.Sprintf("reported %v ago: %s", age, reportLine(done.Report))}, nil
			})
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errWaited)
	w := waiter{p: p, vmid: vmid, after: r.After, before: r.Last, told: map[string]told{}, ended: make(chan error, 1)}
	var watching sync.WaitGroup
	watching.Go(func() { w.watch(ctx) })
	defer watching.Wait()
	defer cancel()
	return p.step(vmid, StepReport, func() (StepResult, error) {
		tick := time.NewTicker(p.options.Poll)
		defer tick.Stop()
		for {
			detail, isDone, err := w.look()
			if err != nil || isDone {
				return StepResult{Detail: detail}, err
			}
			select {
			case err := <-w.ended:
				// Its last report may say why.
				if detail, isDone, failed := w.look(); failed != nil || isDone {
					return StepResult{Detail: detail}, failed
				}
				return StepResult{}, w.died(err)
			case <-ctx.Done():
				return StepResult{}, w.timeout(ctx, limit)
			case <-tick.C:
			}
		}
	})
}

var errWaited = errors.New("waited long enough")

// statusPoll is how often the hypervisor is asked for the guest: a guest that
// died is noticed within two seconds, and a reboot does not look like that.
const (
	statusPoll = 600 * time.Millisecond
	statusSeen = 2 // how often in a row it must be seen stopped
)

// noteAgain is the least time between two notes about a step that continues: a
// guest must not fill the operator's terminal.
const noteAgain = 10 * time.Second

// told is the last note about a step in one state.
type told struct {
	message string
	at      time.Time
}

type waiter struct {
	p      *Provisioner
	vmid   int
	after  string
	before *guests.Progress // these reports are not noted; nil: there are none
	told   map[string]told  // by run, step and state of reports
	last   *guests.Received
	ended  chan error // holds an error when the guest has stopped

	failure *guests.Received // the last that was not followed by a success
}

// watch asks the hypervisor for the guest until ctx is done. An error does not
// end the wait: the host may only be busy, and answer the next time.
func (w *waiter) watch(ctx context.Context) {
	tick := time.NewTicker(statusPoll)
	defer tick.Stop()
	for seen := 0; seen < statusSeen; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		st, err := w.p.options.Hypervisor.Status(ctx, w.vmid)
		switch {
		case errors.Is(err, driver.ErrNotFound):
			w.ended <- errors.New("the guest was removed while it was waited for")
			return
		case err == nil && st.State == driver.Stopped:
			seen++
		default:
			seen = 0
		}
	}
	w.ended <- errors.New("the guest has stopped")
}

// died is the error of a guest that ended, with its last words.
func (w *waiter) died(cause error) error {
	st, err := w.p.options.Hypervisor.Status(context.Background(), w.vmid)
	if err != nil {
		st = driver.Status{} // it is gone
	}
	text := fmt.Sprintf("guest %d: %v", w.vmid, cause)
	if w.last != nil {
		text += "; " + w.word()
	}
	lines := st.Console[max(0, len(st.Console)-consoleQuoted):]
	for _, l := range lines {
		text += "\nconsole: " + line(l)
	}
	hint := fmt.Sprintf("the same command starts it again; felhom-agentd guest remove %d removes it", w.vmid)
	if st.ConsoleFile != "" {
		hint = "its whole console is in " + st.ConsoleFile + "\n" + hint
	}
	if w.failure != nil {
		hint = strings.TrimLeft(termtext.Lines(w.failure.Report.Hint)+"\n"+hint, "\n")
	}
	return fault.WrapHint(fault.Failed, errors.New(text), hint)
}

// consoleQuoted is how many lines of the console an error has.
const consoleQuoted = 8

func (w *waiter) look() (detail string, isDone bool, err error) {
	p, err := w.p.options.Store.Progress(w.vmid)
	if errors.Is(err, guests.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	if w.after != "" && p.Run == w.after {
		return "", false, nil
	}
	if w.failure = p.Failure; w.failure != nil && (w.after != "" && w.failure.Report.Run == w.after || w.isOld(*w.failure)) {
		w.failure = nil
	}
	for _, s := range p.Steps {
		if w.isOld(s) {
			continue
		}
		w.last = &s
		r := s.Report
		key := fmt.Sprint(r.Run, " ", r.Step, " ", r.State)
		was, isTold := w.told[key]
		if !isTold || was.message != r.Message && time.Since(was.at) >= noteAgain {
			w.told[key] = told{message: r.Message, at: time.Now()}
			w.p.options.Observer.Note(w.vmid, StepReport, reportLine(r))
		}
		if r.Step != contract.StepRun {
			continue
		}
		switch r.State {
		case contract.StateDone, contract.StateDegraded:
			return reportLine(r), true, nil
		case contract.StateFailed:
			if isFinal(r.Class) {
				return "", false, w.failed(r)
			}
		}
	}
	return "", false, nil
}

// failed is the error of a guest that does not try again by itself.
func (w *waiter) failed(r contract.Report) error {
	return fault.WrapHint(fault.Failed, fmt.Errorf("guest %d: its bootstrap failed for good (%s): %s", w.vmid, line(r.Class), line(r.Message)),
		strings.TrimPrefix(termtext.Lines(r.Hint)+w.console(context.Background()), "; "))
}

// console says where the guest's console is, as the end of a hint; "" if it has no file.
func (w *waiter) console(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	st, err := w.p.options.Hypervisor.Status(ctx, w.vmid)
	if err != nil || st.ConsoleFile == "" {
		return ""
	}
	return "; its console is in " + st.ConsoleFile
}

// isOld reports whether the report had arrived before the command.
func (w *waiter) isOld(s guests.Received) bool {
	return w.before != nil && w.before.Run == s.Report.Run && s.Report.Sequence <= w.before.Sequence
}

// isUp returns the report of the last run that its bootstrap was done, if it is.
func isUp(p guests.Progress) (guests.Received, bool) {
	for _, s := range p.Steps {
		if s.Report.Step == contract.StepRun && (s.Report.State == contract.StateDone || s.Report.State == contract.StateDegraded) {
			return s, true
		}
	}
	return guests.Received{}, false
}

// failedForGood reports whether the last run ended with a failure that the guest
// does not try again.
func failedForGood(p guests.Progress) bool {
	for _, s := range p.Steps {
		if s.Report.Step == contract.StepRun && s.Report.State == contract.StateFailed && isFinal(s.Report.Class) {
			return true
		}
	}
	return false
}

// isFinal reports whether a guest does not try again after a failure of that class.
func isFinal(class string) bool {
	switch class {
	case fault.Invalid.Class(), fault.Mismatch.Class(), fault.Misuse.Class():
		return true
	}
	return false
}

// word returns the guest's last report: a failure is preferred to what the
// guest tries since.
func (w *waiter) word() string {
	if w.failure == nil || w.failure.Report.Sequence == w.last.Report.Sequence && w.failure.Report.Run == w.last.Report.Run {
		return "the last it reported: " + reportLine(w.last.Report)
	}
	return "the last failure it reported: " + reportLine(w.failure.Report) + "; now: " + reportLine(w.last.Report)
}

func (w *waiter) timeout(ctx context.Context, limit time.Duration) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errWaited) {
		return fmt.Errorf("wait for guest %d: %w", w.vmid, cause)
	}
	stays := fmt.Sprintf("the guest stays: the same command waits again; felhom-agentd guest remove --force %d removes it", w.vmid)
	console := w.console(ctx)
	limit = limit.Round(time.Second)
	if w.last == nil {
		return fault.WrapHint(fault.NotReady, fmt.Errorf("guest %d: nothing was reported within %v", w.vmid, limit),
			"does felhom-agentd serve, and does the guest reach its endpoint (address, bridge, firewall)? its console says how far it got"+console+"\n"+stays)
	}
	hint := termtext.Lines(w.last.Report.Hint)
	if w.failure != nil {
		hint = termtext.Lines(w.failure.Report.Hint)
	}
	return fault.WrapHint(fault.NotReady, fmt.Errorf("guest %d: its controller is not up after %v; %s", w.vmid, limit, w.word()),
		strings.TrimLeft(hint+"\n"+stays+console, "\n"))
}

// reportLine returns a report in one line.
func reportLine(r contract.Report) string {
	text := string(r.Step) + " " + string(r.State)
	if r.Result != "" {
		text += ", " + string(r.Result)
	}
	if r.Message != "" {
		text += ": " + r.Message
	}
	return line(text)
}

// line returns text without line breaks: a line of a guest could begin as our
// own lines do.
func line(text string) string { return termtext.Line(text, 0) }
