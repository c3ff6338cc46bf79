package provision_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Check says what Provision does then, and changes nothing.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(t *testing.T, r *rig)
		job    func(j *provision.Job)
	}{
		{name: "new"},
		{name: "unchanged", before: func(t *testing.T, r *rig) { r.apply(t, job(), provision.Provisioned) }},
		{
			name:   "updated",
			before: func(t *testing.T, r *rig) { r.apply(t, job(), provision.Provisioned) },
			job:    func(j *provision.Job) { j.Image = "registry.example/controller:v2" },
		},
		{name: "stopped", before: func(t *testing.T, r *rig) {
			r.apply(t, job(), provision.Provisioned)
			no(t, r.hv.Shutdown(t.Context(), vmid, 0))
		}},
		{name: "interrupted", before: func(_ *testing.T, r *rig) { r.kill(t, atStep("restore done")) }},
		{name: "interrupted in the restore", before: func(_ *testing.T, r *rig) { r.kill(t, atCall("Restore")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, j := newRig(t), job()
			if c.before != nil {
				c.before(t, r)
			}
			if c.job != nil {
				c.job(&j)
			}
			before, calls := r.left(t), len(r.hv.Calls())
			got, err := provision.New(r.Options).Check(t.Context(), j)
			no(t, err)
			if d := cmp.Diff(before, r.left(t)); d != "" {
				t.Errorf("what exists (-before +after):\n%s", d)
			}
			for _, call := range r.hv.Calls()[calls:] {
				if call != "Check 8200" {
					t.Errorf("the hypervisor was asked for %s", call)
				}
			}
			r.apply(t, j, got)
		})
	}
	r := newRig(t)
	r.hv.Put(driver.Guest{VMID: vmid, State: driver.Running, Hostname: "other"})
	_, err := provision.New(r.Options).Check(t.Context(), job())
	wantError(t, err, fault.Invalid, "take another VMID", "felhom-agentd did not make it")
}
