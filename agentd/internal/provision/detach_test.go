package provision_test

import (
	"errors"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// TestDetachForASnapshot: what is copied of the guest meanwhile has no token that
// is accepted afterwards, and the guest runs again with a new one.
func TestDetachForASnapshot(t *testing.T) {
	r := newRig(t)
	p := provision.New(r.Options)
	if err := p.DetachFor(t.Context(), vmid, "snapshot"); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("a guest that does not exist: %v", err)
	}
	r.apply(t, job(), provision.Provisioned)
	old, _ := r.inMount(t)
	for range 2 { // the second finds the guest stopped, and must not forget that it ran
		if err := p.DetachFor(t.Context(), vmid, "snapshot"); err != nil {
			t.Fatal(err)
		}
		if g := r.guest(t); g.State != driver.Stopped || len(g.Mounts) > 0 {
			t.Fatalf("the guest is %s with the mounts %v", g.State, g.Mounts)
		}
	}
	if detached, err := p.IsDetached(vmid); !detached || err != nil {
		t.Errorf("detached: %t, %v", detached, err)
	}
	r.isValid(t, old) // until the guest gets another one
	done, err := p.Resume(t.Context(), vmid)
	if err != nil || !done.Renewed || !done.Started || done.Source != r.Mounts.Path(vmid) {
		t.Fatalf("%+v, %v", done, err)
	}
	r.isWhole(t, driver.Running)
	r.isReplaced(t, old)
	renewed, _ := r.inMount(t)
	r.isValid(t, renewed)
	done, err = p.Resume(t.Context(), vmid)
	if again, _ := r.inMount(t); err != nil || done.Renewed || done.Started || again != renewed {
		t.Errorf("again: %+v, %v; another token: %t", done, err, again != renewed)
	}
}

// TestDetachForOfAGuestThatIsNotKnown: a guest that is not felhom-agentd's is not
// shut down, and no record of it is made.
func TestDetachForOfAGuestThatIsNotKnown(t *testing.T) {
	r := newRig(t)
	r.running()
	if err := provision.New(r.Options).DetachFor(t.Context(), vmid, "snapshot"); fault.Of(err) != fault.NotFound {
		t.Errorf("got %v", err)
	}
	if g := r.guest(t); g.State != driver.Running {
		t.Errorf("the guest is %s", g.State)
	}
	if _, err := r.Store.Get(vmid); !errors.Is(err, guests.ErrNotFound) {
		t.Errorf("its record: %v", err)
	}
}

// TestDetachForLeavesAStoppedGuestStopped: nor is a revoked guest trusted again.
func TestDetachForLeavesAStoppedGuestStopped(t *testing.T) {
	r := newRig(t)
	p := provision.New(r.Options)
	r.apply(t, job(), provision.Provisioned)
	if err := r.hv.Shutdown(t.Context(), vmid, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := p.DetachFor(t.Context(), vmid, "clone"); err != nil {
		t.Fatal(err)
	}
	if done, err := p.Resume(t.Context(), vmid); err != nil || done.Started || !done.Renewed {
		t.Errorf("%+v, %v", done, err)
	}
	r.isWhole(t, driver.Stopped)
	if err := p.DetachFor(t.Context(), vmid, "clone"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Revoke(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	if done, err := p.Resume(t.Context(), vmid); fault.Of(err) != fault.Invalid || done.Renewed || len(r.guest(t).Mounts) > 0 {
		t.Errorf("a revoked guest: %+v, %v", done, err)
	}
}

// TestInterruptedDetach: whatever fails, the next command continues, and no guest
// stays down that ran.
func TestInterruptedDetach(t *testing.T) {
	for _, call := range []string{"Shutdown", "Detach", "Attach", "Start"} {
		t.Run(call, func(t *testing.T) {
			r := newRig(t)
			p := provision.New(r.Options)
			r.apply(t, job(), provision.Provisioned)
			old, _ := r.inMount(t)
			r.hv.Fail(call, errors.New("cut"))
			err := p.DetachFor(t.Context(), vmid, "snapshot")
			if err == nil {
				_, err = p.Resume(t.Context(), vmid)
			}
			if err == nil {
				t.Fatalf("nothing failed at %s", call)
			}
			r.hv.Fail(call, nil)
			if done, err := p.Resume(t.Context(), vmid); err != nil || !done.Renewed {
				t.Fatalf("%+v, %v", done, err)
			}
			r.isWhole(t, driver.Running)
			r.isReplaced(t, old)
			if detached, err := p.IsDetached(vmid); detached || err != nil {
				t.Errorf("detached: %t, %v", detached, err)
			}
		})
	}
}
