package provision_test

import (
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

func change(image string) provision.Job {
	return provision.Job{VMID: vmid, IsChange: true, Given: &driver.Spec{}, Asked: provision.Asked{Image: image}}
}

// A change makes no guest, starts none, and reaches those that only guest add
// made known, whose mounts it does not attach.
func TestChange(t *testing.T) {
	const next = "registry.example/controller:v2"
	r := newRig(t)
	_, err := r.Apply(t.Context(), change(next))
	wantError(t, err, fault.NotFound, "provision --vmid 8200 makes it", "there is no such guest to change")
	_, err = provision.New(r.Options).Check(t.Context(), change(next))
	wantError(t, err, fault.NotFound, "provision --vmid 8200 makes it", "there is no such guest to change")
	if left := r.left(t); len(left) > 0 {
		t.Errorf("left: %v", left)
	}

	r.kill(t, atStep("restore done"))
	_, err = r.Apply(t.Context(), change(next))
	wantError(t, err, fault.Invalid, "provision --vmid 8200 finishes it", "its provisioning was interrupted")
	r.apply(t, job(), provision.Finished)

	wantImage := func(want string) {
		t.Helper()
		if _, image := r.inMount(t); image != want {
			t.Errorf("image %s, want %s", image, want)
		}
	}
	r.apply(t, change(next), provision.Updated)
	wantImage(next)
	r.apply(t, change(next), provision.Unchanged)
	no(t, r.hv.Shutdown(t.Context(), vmid, 0))
	r.apply(t, change("registry.example/controller:v3"), provision.Updated)
	wantImage("registry.example/controller:v3")
	if g := r.guest(t); g.State != driver.Stopped {
		t.Errorf("the guest is %s, want that it stays stopped", g.State)
	}

	r = newRig(t)
	r.running()
	_, err = r.Apply(t.Context(), change(next))
	wantError(t, err, fault.Invalid, "felhom-agentd guest add 8200", "felhom-agentd did not make it")
	r.add(t)
	r.apply(t, change(next), provision.Updated)
	wantImage(next)
	if g := r.guest(t); len(g.Mounts) > 0 || g.Description != "" {
		t.Errorf("the guest was changed: %+v", g)
	}
}

// A change is waited for if the guest runs, and only then.
func TestChangeIsWaitedFor(t *testing.T) {
	r := newRig(t)
	r.apply(t, job(), provision.Provisioned)
	r.report(t, report("a", contract.StepRun, contract.StateDone))
	p := provision.New(r.Options)
	out, err := p.All(t.Context(), []provision.Job{change("registry.example/controller:v2")}, 300*time.Millisecond)
	wantError(t, err, fault.NotReady, "the same command waits again", "nothing was reported within")
	if !out[0].Failed || out[0].Err == nil || out[0].IsUp {
		t.Errorf("%+v, want that it failed", out[0])
	}
	no(t, r.hv.Shutdown(t.Context(), vmid, 0))
	out, err = p.All(t.Context(), []provision.Job{change("registry.example/controller:v3")}, time.Minute)
	if err != nil || out[0].Failed || out[0].IsUp || out[0].Outcome != provision.Updated {
		t.Errorf("%+v, %v; want it updated and not waited for", out[0], err)
	}
	if record, err := r.store.Get(vmid); err != nil || record.ControllerImage != "registry.example/controller:v3" {
		t.Errorf("record %+v, %v", record, err)
	}
}
