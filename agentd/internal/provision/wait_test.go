package provision_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

var sequence atomic.Uint64 // some tests report beside themselves

func report(run string, step contract.Step, state contract.State) contract.Report {
	return contract.Report{Run: run, Sequence: sequence.Add(1), Step: step, State: state}
}

func (r *rig) report(t *testing.T, reports ...contract.Report) {
	t.Helper()
	for _, rep := range reports {
		if _, err := r.store.AddReport(t.Context(), vmid, rep); err != nil {
			t.Fatal(err)
		}
	}
}

// later calls f, which reports, and returns how to wait for its end: the end of the test
// would cancel what it still does.
func later(d time.Duration, f func()) (wait func()) {
	done := make(chan struct{})
	time.AfterFunc(d, func() { defer close(done); f() })
	return func() { <-done }
}

func with(r contract.Report, class, message, hint string) contract.Report {
	r.Class, r.Message, r.Hint = class, message, hint
	return r
}

func (r *rig) running() { r.hv.Put(driver.Guest{VMID: vmid, State: driver.Running}) }

// A guest that died is noticed within two seconds, with its last words.
func TestWaitDied(t *testing.T) {
	for _, c := range []struct {
		name    string
		report  []contract.Report
		die     func(r *rig)
		texts   []string
		isFinal bool
	}{
		{"before it reported", nil, func(r *rig) { r.hv.Die(vmid, "Failed to create control group inotify object\n\x1b[2Jend") }, []string{
			"guest 8200: the guest has stopped", "\nconsole: Failed to create control group inotify object\nconsole: ",
		}, false},
		{"after a report", []contract.Report{report("a", contract.StepImage, contract.StateStarted)}, func(r *rig) { r.hv.Die(vmid, "") }, []string{
			"the guest has stopped; the last it reported: image started",
		}, false},
		{"with a failure for good", []contract.Report{with(report("a", contract.StepRun, contract.StateFailed), "refused", "no such tag", "")}, func(r *rig) { r.hv.Die(vmid, "") }, []string{
			"failed for good (refused): no such tag",
		}, true},
		{"removed", nil, func(r *rig) { no(t, r.hv.Shutdown(t.Context(), vmid, 0)); no(t, r.hv.Destroy(t.Context(), vmid)) }, []string{
			"guest 8200: the guest was removed while it was waited for",
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.running()
				var died time.Time
				wait := later(10*time.Second, func() { died = time.Now(); c.die(r); r.report(t, c.report...) })
				err := r.Wait(t.Context(), vmid, "", time.Minute)
				wait()
				wantError(t, err, fault.Failed, "", c.texts...)
				if took := time.Since(died); took > 2*time.Second {
					t.Errorf("noticed after %v, want 2s at most", took)
				}
				if strings.Contains(err.Error(), "\x1b") {
					t.Errorf("error %q is not cleaned", err)
				}
			})
		})
	}
}

// A guest that failed, tried again and stopped: its failure is named with the hint,
// in lines that are harmless.
func TestWaitDiedAfterAFailure(t *testing.T) {
	const odd = "a\r\n\tb\x1b[2J\u202ec\u2028d\x9be"
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.running()
		r.report(t, with(report("a", contract.StepImage, contract.StateFailed), "not-ready", "no registry "+odd, "start it "+odd),
			with(report("a", contract.StepRun, contract.StateFailed), "not-ready", "image: no registry", ""),
			with(report("b", contract.StepImage, contract.StateStarted), "", "pulling "+odd, ""))
		time.AfterFunc(time.Second, func() { r.hv.Die(vmid, "console "+odd) })
		err := r.Wait(t.Context(), vmid, "", time.Minute)
		wantError(t, err, fault.Failed, "start it", "the last failure it reported: image failed: no registry a b", "; now: image started: pulling a b")
		hint := fault.HintOf(err)
		if !strings.HasPrefix(hint, "start it a\n") || !strings.Contains(hint, "the same command starts it again") {
			t.Errorf("hint %q", hint)
		}
		for _, text := range []string{err.Error(), hint} {
			if strings.ContainsAny(text, "\x1b\r\u202e\u2028") || strings.Contains(text, "\x9b") {
				t.Errorf("text %q is not cleaned", text)
			}
		}
	})
}

// A guest that reboots, and a hypervisor that cannot say, end no wait.
func TestWaitContinues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.running()
		time.AfterFunc(1700*time.Millisecond, func() { r.hv.Die(vmid, "") })
		time.AfterFunc(2200*time.Millisecond, r.running)
		time.AfterFunc(5*time.Second, func() { r.hv.Fail("Status", driver.ErrBusy) })
		wait := later(20*time.Second, func() { r.report(t, report("a", contract.StepRun, contract.StateDone)) })
		no(t, r.Wait(t.Context(), vmid, "", time.Minute))
		wait()
	})
}

// The last word is the last failure, not what the guest tries since.
func TestWaitLastFailure(t *testing.T) {
	for _, c := range []struct {
		name    string
		reports []contract.Report
		hint    string
		text    string
	}{
		{"another run", []contract.Report{
			with(report("a", contract.StepImage, contract.StateFailed), "not-ready", "no registry", "start it"),
			with(report("a", contract.StepRun, contract.StateFailed), "not-ready", "image: no registry", ""),
			report("b", contract.StepRun, contract.StateStarted), report("b", contract.StepImage, contract.StateStarted),
		}, "start it\n", "the last failure it reported: image failed: no registry; now: image started"},
		{"the same step", []contract.Report{
			with(report("c", contract.StepReady, contract.StateFailed), "not-ready", "unhealthy: 500", "look at its log"),
			report("c", contract.StepReady, contract.StateStarted),
		}, "look at its log", "the last failure it reported: ready failed: unhealthy: 500; now: ready started"},
		{"over", []contract.Report{
			with(report("d", contract.StepEngine, contract.StateFailed), "not-ready", "no Docker", "start it"),
			report("d", contract.StepEngine, contract.StateDone), report("d", contract.StepImage, contract.StateStarted),
		}, "the guest stays", "after 1m0s; the last it reported: image started"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.running()
				r.report(t, c.reports...)
				wantError(t, r.Wait(t.Context(), vmid, "", time.Minute), fault.NotReady, c.hint, c.text)
			})
		})
	}
}

// Each case is what a guest reports, one report a second.
func TestWait(t *testing.T) {
	cases := []struct {
		name    string
		after   string
		reports []contract.Report
		code    fault.Kind
		hint    string
		texts   []string
		took    time.Duration
	}{
		{name: "done", reports: []contract.Report{
			report("a", contract.StepChannel, contract.StateDone), report("a", contract.StepRun, contract.StateDone),
		}, took: 2 * time.Second},
		{name: "degraded", reports: []contract.Report{report("a", contract.StepRun, contract.StateDegraded)}, took: time.Second},
		{
			name: "failed for good", took: time.Second, code: fault.Failed, hint: "name another image; its console is in /fake/8200/console.log",
			reports: []contract.Report{with(report("a", contract.StepRun, contract.StateFailed), "refused", "no such tag", "name another image")},
			texts:   []string{"guest 8200: its bootstrap failed for good (refused): no such tag"},
		},
		{
			name: "a digest that does not match", took: time.Second, code: fault.Failed,
			reports: []contract.Report{with(report("a", contract.StepRun, contract.StateFailed), "verification", "digest", "")},
			texts:   []string{"(verification): digest"},
		},
		{name: "tried again, and done", took: 2 * time.Second, reports: []contract.Report{
			with(report("a", contract.StepRun, contract.StateFailed), "not-ready", "registry", ""), report("b", contract.StepRun, contract.StateDone),
		}},
		{name: "an older run", after: "old", took: 2 * time.Second, reports: []contract.Report{
			report("old", contract.StepRun, contract.StateDone), report("new", contract.StepRun, contract.StateDone),
		}},
		{
			name: "an older run only", after: "old", took: time.Minute, code: fault.NotReady, hint: "does felhom-agentd serve",
			reports: []contract.Report{report("old", contract.StepRun, contract.StateDone)},
			texts:   []string{"nothing was reported within 1m0s"},
		},
		{
			name: "nothing", took: time.Minute, code: fault.NotReady, hint: "guest remove --force 8200",
			texts: []string{"guest 8200: nothing was reported within 1m0s"},
		},
		{
			name: "not in time", took: time.Minute, code: fault.NotReady, hint: "start it\nthe guest stays",
			reports: []contract.Report{with(report("a", contract.StepEngine, contract.StateFailed), "not-ready", "no Docker", "start it")},
			texts:   []string{"its controller is not up after 1m0s; the last it reported: engine failed: no Docker"},
		},
		{
			name: "hostile text", took: time.Second, code: fault.Failed, hint: "wipe\\x1b[2J it",
			reports: []contract.Report{with(report("a", contract.StepRun, contract.StateFailed), "refused", "x\nfelhom-agentd: hint: rm\x1b[2J \u202egnp", "wipe\x1b[2J it")},
			texts:   []string{"(refused): x felhom-agentd: hint: rm\\x1b[2J \\u202egnp"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.running()
				ctx, cancel := context.WithCancel(t.Context())
				var reporting sync.WaitGroup
				defer reporting.Wait()
				defer cancel()
				reporting.Go(func() {
					for _, rep := range c.reports {
						select {
						case <-time.After(time.Second):
							r.report(t, rep)
						case <-ctx.Done():
							return
						}
					}
				})
				started := time.Now()
				err := r.Wait(t.Context(), vmid, c.after, time.Minute)
				if c.code == fault.None {
					no(t, err)
				} else {
					wantError(t, err, c.code, c.hint, c.texts...)
				}
				if took := time.Since(started); took < c.took || took > c.took+2*r.Poll {
					t.Errorf("waited %v, want %v", took, c.took)
				}
				for _, note := range r.steps.notes {
					if strings.ContainsAny(note, "\n\x1b\u202e") {
						t.Errorf("note %q is not cleaned", note)
					}
				}
			})
		})
	}
}

func TestWaitNotesEachReportOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.running()
		done := report("a", contract.StepChannel, contract.StateDone)
		done.Result = "changed"
		r.report(t, done, with(report("a", contract.StepEngine, contract.StateFailed), "not-ready", "no Docker", ""))
		err := r.Wait(t.Context(), vmid, "", 10*time.Second)
		wantError(t, err, fault.NotReady, "")
		if d := cmp.Diff([]string{"report: channel done, changed", "report: engine failed: no Docker"}, r.steps.notes); d != "" {
			t.Errorf("notes (-want +got):\n%s", d)
		}
	})
}

// A step that continues says why it takes long, in one more report with the same
// state. A guest that says something else each second floods no terminal.
func TestWaitNotesWhatAStepSays(t *testing.T) {
	says := func(message string) contract.Report {
		return with(report("a", contract.StepImage, contract.StateStarted), "", message, "")
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.running()
		go func() {
			for _, rep := range []contract.Report{says(""), says("retrying because the registry does not answer"), says("retrying because the registry does not answer")} {
				r.report(t, rep)
				<-time.After(15 * time.Second)
			}
		}()
		err := r.Wait(t.Context(), vmid, "", time.Minute)
		wantError(t, err, fault.NotReady, "", "the last it reported: image started: retrying because the registry does not answer")
		if d := cmp.Diff([]string{"report: image started", "report: image started: retrying because the registry does not answer"}, r.steps.notes); d != "" {
			t.Errorf("notes (-want +got):\n%s", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.running()
		go func() {
			for i := range 55 {
				r.report(t, says(strconv.Itoa(i)))
				<-time.After(time.Second)
			}
		}()
		wantError(t, r.Wait(t.Context(), vmid, "", time.Minute), fault.NotReady, "", "image started: 54")
		if n := len(r.steps.notes); n < 3 || n > 8 {
			t.Errorf("%d notes in a minute, want one each ten seconds: %q", n, r.steps.notes)
		}
	})
}

func TestWaitInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.running()
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-time.After(time.Second); cancel() }()
		wantError(t, r.Wait(ctx, vmid, "", time.Minute), fault.Interrupted, "", "wait for guest 8200")
	})
}

// Reports of a guest that had the VMID before say nothing of the new one.
func TestAfter(t *testing.T) {
	r := newRig(t)
	r.add(t)
	r.report(t, report("old", contract.StepRun, contract.StateDone))
	if got := r.apply(t, job(), provision.Provisioned); got.After != "old" {
		t.Errorf("after %q, want old", got.After)
	}
	if got := r.apply(t, job(), provision.Unchanged); got.After != "old" || got.Last != nil {
		t.Errorf("unchanged, without a report of the new guest: after %q, want old", got.After)
	}
	r.report(t, report("first", contract.StepRun, contract.StateDone))
	if got := r.apply(t, job(), provision.Unchanged); got.After != "" || got.Last == nil {
		t.Errorf("unchanged: after %q, want any run", got.After)
	}
	no(t, r.hv.Shutdown(t.Context(), vmid, 0))
	r.report(t, report("new", contract.StepRun, contract.StateDone))
	if got := r.apply(t, job(), provision.Started); got.After != "new" {
		t.Errorf("started: after %q, want new", got.After)
	}

	// What the guest reported of between two parts of one job counts.
	r = newRig(t)
	r.add(t)
	r.report(t, report("old", contract.StepRun, contract.StateDone))
	r.kill(t, atStep("start done"))
	r.report(t, report("new", contract.StepRun, contract.StateDone))
	if got := r.apply(t, job(), provision.Finished); got.After != "old" {
		t.Errorf("finished: after %q, want old", got.After)
	}
}
