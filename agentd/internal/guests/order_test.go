package guests_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
)

// TestTheLastFailureDoesNotDependOnTheOrder delivers the reports of a run in each
// order: a report that was refused is sent again after later ones.
func TestTheLastFailureDoesNotDependOnTheOrder(t *testing.T) {
	const started, done, failed, degraded = contract.StateStarted, contract.StateDone, contract.StateFailed, contract.StateDegraded
	type reports []contract.Report
	of := func(step contract.Step, state contract.State) contract.Report {
		return contract.Report{Step: step, State: state}
	}
	image, ready, run := contract.StepImage, contract.StepReady, contract.StepRun
	for name, test := range map[string]struct {
		before string // failed step of the run before
		made   reports
		want   string // step of the failure
	}{
		"a failure, then the run is done":       {"", reports{of(image, failed), of(ready, done), of(run, done)}, ""},
		"a failure, then the run is degraded":   {"", reports{of(image, failed), of(ready, started), of(run, degraded)}, ""},
		"a failure, and the run's":              {"", reports{of(image, failed), of(ready, started), of(run, failed)}, "image"},
		"failure, success, failure of the run":  {"", reports{of(image, failed), of(image, done), of(run, failed)}, "run"},
		"failure, success, another failure":     {"", reports{of(image, failed), of(image, done), of(ready, failed)}, "ready"},
		"failure, success, failure of one step": {"", reports{of(image, failed), of(image, done), of(image, failed)}, "image"},
		"two failures":                          {"", reports{of(image, failed), of(ready, failed), of(run, failed)}, "ready"},
		"failure before, success of the step":   {"image", reports{of(image, done), of(ready, started)}, ""},
		"failure before, success of another":    {"image", reports{of(ready, done), of(image, started)}, "image"},
		"failure before, the run fails":         {"image", reports{of(ready, done), of(run, failed)}, "run"},
		"failure before, the run is done":       {"image", reports{of(ready, failed), of(run, done)}, ""},
		"failure before and again":              {"ready", reports{of(image, done), of(ready, failed), of(run, failed)}, "ready"},
	} {
		for i := range test.made {
			test.made[i].Run, test.made[i].Sequence = "second", uint64(i+1)
		}
		for _, order := range orders(len(test.made)) {
			p := guests.Progress{}
			now := time.Now()
			if test.before != "" {
				p.Add(contract.Report{Run: "first", Sequence: 9, Step: contract.Step(test.before), State: failed}, now)
			}
			var sent []string
			for _, at := range order {
				r := test.made[at]
				p.Add(r, now)
				sent = append(sent, fmt.Sprintf("%d %s %s", r.Sequence, r.Step, r.State))
			}
			got := ""
			if p.Failure != nil {
				got = string(p.Failure.Report.Step)
			}
			if got != test.want {
				t.Errorf("%s: %q: failure of %q, want of %q", name, sent, got, test.want)
			}
		}
	}
}

// orders returns all orders of n things.
func orders(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var out [][]int
	for _, order := range orders(n - 1) {
		for at := range n {
			out = append(out, append(append(append([]int(nil), order[:at]...), n-1), order[at:]...))
		}
	}
	return out
}

// A guest's clock can jump within a run and between runs: its reports count by their
// sequence.
func TestTheClockOfAGuestMayJump(t *testing.T) {
	now := time.Now()
	for _, jump := range []time.Duration{0, -24 * time.Hour, 24 * time.Hour, -2 * 365 * 24 * time.Hour} {
		p := guests.Progress{}
		p.Add(contract.Report{Run: "a", Sequence: 1, Time: now, Step: contract.StepReady, State: contract.StateFailed}, now)
		p.Add(contract.Report{Run: "a", Sequence: 2, Time: now.Add(jump), Step: contract.StepReady, State: contract.StateDone}, now)
		p.Add(contract.Report{Run: "a", Sequence: 1, Time: now, Step: contract.StepReady, State: contract.StateFailed}, now) // sent again
		if last, ok := p.Last(); !ok || last.Report.State != contract.StateDone || p.Failure != nil {
			t.Errorf("%s within a run: last %+v, failure %+v; want the later state", jump, last.Report, p.Failure)
		}
		p.Add(contract.Report{Run: "b", Sequence: 1, Time: now.Add(2 * jump), Step: contract.StepRun, State: contract.StateFailed}, now)
		if last, _ := p.Last(); last.Report.Run != "b" || p.Failure == nil || p.Failure.Report.Run != "b" {
			t.Errorf("%s between runs: last %+v, failure %+v; want those of run b", jump, last.Report, p.Failure)
		}
	}
}
