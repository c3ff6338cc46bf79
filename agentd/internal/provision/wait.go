package provision

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/exit"
)

// Wait waits until the guest reports that its bootstrap is done, in another run
// than after. Failures that the guest tries again are told; one that it does not
// ends the wait. The guest stays as it is.
func (o Options) Wait(ctx context.Context, vmid int, after string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errWaited)
	defer cancel()
	w := waiter{o: o, vmid: vmid, after: after, told: map[string]bool{}}
	return o.step(vmid, StepReport, func() (string, string, error) {
		tick := time.NewTicker(o.Poll)
		defer tick.Stop()
		for {
			detail, isDone, err := w.look()
			if err != nil || isDone {
				return "done", detail, err
			}
			select {
			case <-ctx.Done():
				return "", "", w.timeout(context.Cause(ctx), limit)
			case <-tick.C:
			}
		}
	})
}

var errWaited = errors.New("waited long enough")

type waiter struct {
	o     Options
	vmid  int
	after string
	told  map[string]bool // run, step and state of reports
	last  *guests.Received
}

func (w *waiter) look() (detail string, isDone bool, err error) {
	p, err := w.o.Store.Progress(w.vmid)
	if errors.Is(err, guests.ErrNotFound) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	if w.after != "" && p.Run == w.after {
		return "", false, nil
	}
	for _, s := range p.Steps {
		w.last = &s
		r := s.Report
		key := fmt.Sprint(r.Run, " ", r.Step, " ", r.State)
		if !w.told[key] {
			w.told[key] = true
			w.o.Observer.Note(w.vmid, StepReport, tell(r))
		}
		if r.Step != contract.StepRun {
			continue
		}
		switch r.State {
		case contract.StateDone, contract.StateDegraded:
			return tell(r), true, nil
		case contract.StateFailed:
			switch r.Class {
			case exit.Refused.String(), exit.Verification.String(), exit.Misuse.String():
				return "", false, exit.WithHint(exit.Failed, fmt.Errorf("guest %d: its bootstrap failed for good (%s): %s", w.vmid, line(r.Class), line(r.Message)), clean(r.Hint))
			}
		}
	}
	return "", false, nil
}

func (w *waiter) timeout(cause error, limit time.Duration) error {
	if !errors.Is(cause, errWaited) {
		return fmt.Errorf("wait for guest %d: %w", w.vmid, cause)
	}
	stays := fmt.Sprintf("the guest stays: the same command goes on waiting; felhom-agentd guest remove --force %d takes it back", w.vmid)
	limit = limit.Round(time.Second)
	if w.last == nil {
		return exit.WithHint(exit.NotReady, fmt.Errorf("guest %d: nothing was reported within %v", w.vmid, limit),
			"does felhom-agentd serve, and does the guest reach its endpoint (address, bridge, firewall)? its console says how far it got\n"+stays)
	}
	return exit.WithHint(exit.NotReady, fmt.Errorf("guest %d: its controller is not up after %v; the last it reported: %s", w.vmid, limit, tell(w.last.Report)),
		strings.TrimLeft(clean(w.last.Report.Hint)+"\n"+stays, "\n"))
}

// tell is a report in a line.
func tell(r contract.Report) string {
	text := string(r.Step) + " " + string(r.State)
	if r.Result != "" {
		text += ", " + string(r.Result)
	}
	if r.Message != "" {
		text += ": " + r.Message
	}
	return line(text)
}

// line is text without line breaks: one of a guest's could begin as our own
// lines do.
func line(text string) string { return strings.ReplaceAll(clean(text), "\n", " ") }

// clean keeps what a guest wrote from writing to the terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsGraphic(r) {
			return r
		}
		return '?'
	}, text)
}
