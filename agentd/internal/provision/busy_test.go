package provision_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
)

// A command that works on the guest is not waited for until it ends.
func TestTwoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		unlock, err := provision.Claim(t.Context(), r.StateDir, vmid)
		no(t, err)
		for what, call := range map[string]func() error{
			"provision":    func() error { _, err := r.Apply(t.Context(), job()); return err },
			"guest remove": func() error { _, err := r.Remove(t.Context(), vmid, true); return err },
		} {
			start := time.Now()
			wantError(t, call(), fault.NotReady, "wait for it", "locked by pid")
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s waited %v", what, took)
			}
		}
		no(t, unlock())
		r.apply(t, job(), provision.Provisioned)
	})
}

// The daemon has each guest for a moment when it brings the mounts up to date: no
// command fails because of that. The daemon does not wait for a command.
func TestACommandMeetsTheDaemon(t *testing.T) {
	for name, call := range map[string]func(context.Context, *provision.Provisioner) error{
		"provision": func(ctx context.Context, p *provision.Provisioner) error {
			_, err := p.Provision(ctx, job())
			return err
		},
		"guest remove": func(ctx context.Context, p *provision.Provisioner) error {
			_, err := p.Remove(ctx, vmid, true)
			return err
		},
		"guest add":    func(ctx context.Context, p *provision.Provisioner) error { _, err := p.Register(ctx, vmid); return err },
		"guest attach": func(ctx context.Context, p *provision.Provisioner) error { _, err := p.Attach(ctx, vmid); return err },
		"guest detach": func(ctx context.Context, p *provision.Provisioner) error { return p.Detach(ctx, vmid) },
		"guest detach --for": func(ctx context.Context, p *provision.Provisioner) error {
			return p.DetachFor(ctx, vmid, "snapshot")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, j := newRig(t), job()
				j.Start = false
				r.apply(t, j, provision.Provisioned)
				unlock, err := provision.Claim(t.Context(), r.StateDir, vmid)
				no(t, err)
				released := later(time.Second, func() { no(t, unlock()) })
				no(t, call(t.Context(), provision.New(r.Options)))
				released()
			})
		})
	}
	t.Run("and the daemon a command", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.add(t)
			unlock, err := provision.Claim(t.Context(), r.StateDir, vmid)
			no(t, err)
			start := time.Now()
			_, err = provision.New(r.Options).Renew(t.Context(), vmid, renewal(t, "https://192.0.2.99:8443", 1))
			if took := time.Since(start); !errors.Is(err, filelock.ErrHeld) || took >= time.Second {
				t.Errorf("error %v after %v, want ErrHeld at once", err, took)
			}
			no(t, unlock())
		})
	})
}

// The hypervisor's task outlives a killed restore: until it has ended, what it
// makes is neither this run's by its ID nor anything to remove.
func TestRestoreStillAtWork(t *testing.T) {
	r := newRig(t)
	r.killWork(t, atCall("Restore"), func() { _, _ = r.Apply(context.WithoutCancel(t.Context()), job()) })
	before := r.left(t)
	r.hv.Put(driver.Guest{VMID: vmid, State: driver.Stopped, Lock: "create"})
	for what, call := range map[string]func() error{
		"provision":    func() error { _, err := r.Apply(t.Context(), job()); return err },
		"guest remove": func() error { _, err := r.Remove(t.Context(), vmid, true); return err },
	} {
		err := call()
		if !errors.Is(err, driver.ErrBusy) {
			t.Errorf("%s: error %v, want ErrBusy", what, err)
		}
		wantError(t, err, fault.NotReady, "when that task has ended", "guest 8200")
		if after := r.left(t); len(after) != len(before) {
			t.Errorf("%s: before %v, after %v", what, before, after)
		}
	}
	r.hv.MakePartial(vmid) // the task has ended
	r.apply(t, job(), provision.Finished)
}

// A removal that is refused has removed nothing, and the guest is as it was.
func TestRemoveRefused(t *testing.T) {
	for _, method := range []string{"Shutdown", "Destroy"} {
		for name, fault := range map[string]error{"protected": driver.ErrProtected, "backup": driver.ErrBusy} {
			t.Run(method+" "+name, func(t *testing.T) {
				r := newRig(t)
				r.apply(t, job(), provision.Provisioned)
				for range 2 {
					r.hv.Fail(method, fault)
					if _, err := r.Remove(t.Context(), vmid, true); !errors.Is(err, fault) {
						t.Fatalf("error %v, want %v", err, fault)
					}
				}
				r.hv.Fail(method, nil)
				want := provision.Unchanged
				if method == "Destroy" {
					want = provision.Started
				}
				r.apply(t, job(), want)
				if _, err := r.Remove(t.Context(), vmid, true); err != nil || len(r.left(t)) > 0 {
					t.Errorf("error %v, left %v", err, r.left(t))
				}
			})
		}
	}
	t.Run("of an unfinished provisioning", func(t *testing.T) {
		r := newRig(t)
		r.kill(t, atStep("start done"))
		r.hv.Fail("Destroy", driver.ErrProtected)
		if _, err := r.Remove(t.Context(), vmid, true); !errors.Is(err, driver.ErrProtected) {
			t.Fatalf("error %v, want ErrProtected", err)
		}
		r.apply(t, job(), provision.Finished)
	})
}
