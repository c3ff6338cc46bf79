package provision_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
)

// A command that was killed, or did not wait long enough, has written the mount:
// the next one takes no report from before that write for one of after it.
func TestReportFromBeforeTheWrite(t *testing.T) {
	const next = "registry.example/controller:v2"
	again := job()
	again.Image = next
	for _, c := range []struct {
		name  string
		write func(*testing.T, *rig)
		job   provision.Job
		want  provision.Outcome
	}{
		{"update", func(t *testing.T, r *rig) { r.apply(t, again, provision.Updated) }, again, provision.Unchanged},
		{"killed", func(t *testing.T, r *rig) {
			r.killWork(t, atStep("mount done"), func() { _, _ = r.Apply(t.Context(), again) })
		}, again, provision.Unchanged},
		{"change", func(t *testing.T, r *rig) { r.apply(t, change(next), provision.Updated) }, change(next), provision.Unchanged},
		{"started and killed", func(t *testing.T, r *rig) {
			no(t, r.hv.Shutdown(t.Context(), vmid, 0))
			r.killWork(t, atStep("start done"), func() { _, _ = r.Apply(t.Context(), job()) })
		}, job(), provision.Unchanged},
		{"a guest that is made where another was", func(t *testing.T, r *rig) {
			no(t, r.hv.Shutdown(t.Context(), vmid, 0))
			no(t, r.hv.Destroy(t.Context(), vmid))
			r.apply(t, again, provision.Provisioned)
		}, again, provision.Unchanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.apply(t, job(), provision.Provisioned)
				r.report(t, report("before", contract.StepRun, contract.StateDone))
				c.write(t, r)
				p := provision.New(r.Options)
				for range 2 {
					got := r.apply(t, c.job, c.want)
					wantError(t, p.Wait(t.Context(), vmid, got, time.Minute), fault.NotReady, "", "nothing was reported within 1m0s")
				}
				r.report(t, report("after", contract.StepRun, contract.StateDone))
				got := r.apply(t, c.job, c.want)
				started := time.Now()
				no(t, p.Wait(t.Context(), vmid, got, time.Minute))
				if took := time.Since(started); took > 0 {
					t.Errorf("a guest that reported since was waited for %v", took)
				}
				// A new token alone gives the guest no reason to report again.
				if _, err := p.Rotate(t.Context(), vmid); err != nil {
					t.Fatal(err)
				}
				got = r.apply(t, c.job, c.want)
				no(t, p.Wait(t.Context(), vmid, got, time.Minute))
			})
		})
	}
}
