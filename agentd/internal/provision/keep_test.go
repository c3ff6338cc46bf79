package provision_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// A guest that an earlier run had started may be in use: a later one that fails
// does not take it away.
func TestFinishingDestroysNoLivingGuest(t *testing.T) {
	for name, spoil := range map[string]func(*rig){
		"check":  func(r *rig) { r.Bootstrap = failing },
		"attach": func(r *rig) { r.hv.Fail("Attach", errBroken) },
		"golden": func(*rig) {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.kill(t, atStep("start done"))
			bootstrap := r.Bootstrap
			spoil(r)
			again := job()
			if name == "golden" {
				again.Spec.Archive += ".other"
			}
			if _, err := r.Apply(t.Context(), again); err == nil {
				t.Fatal("the run did not fail")
			}
			if g := r.guest(t); g.State != driver.Running {
				t.Errorf("the guest is %s", g.State)
			}
			r.hv.Fail("Attach", nil)
			r.Bootstrap = bootstrap
			r.apply(t, job(), provision.Finished)
			r.isWhole(t, driver.Running)
		})
	}
}

func failing(int, provision.Asked) (contract.Bootstrap, error) {
	return contract.Bootstrap{}, errBroken
}

// An archive may be a backup of a guest of this host: its old ID goes.
func TestBackupOfAnOwnGuest(t *testing.T) {
	r := newRig(t)
	j := job()
	j.Spec.Description = "notes\nfelhom-agentd: provision OLDONE"
	r.apply(t, j, provision.Provisioned)
	if text := r.guest(t).Description; strings.Contains(text, "OLDONE") || !strings.HasPrefix(text, "notes\nfelhom-agentd: provision ") {
		t.Errorf("description %q", text)
	}
	r.apply(t, j, provision.Unchanged)
}

// The directory was removed under a running guest: it has the old one until the
// mount is made again.
func TestMountThatWasRemoved(t *testing.T) {
	r := newRig(t)
	r.apply(t, job(), provision.Provisioned)
	if err := os.RemoveAll(r.Mounts.Path(vmid)); err != nil {
		t.Fatal(err)
	}
	r.apply(t, job(), provision.Updated)
	calls := strings.Join(r.hv.Calls(), ", ")
	if !strings.HasSuffix(calls, "Detach 8200, Attach 8200") {
		t.Errorf("calls %s, want the mount taken away and made again", calls)
	}

	if err := os.RemoveAll(r.Mounts.Path(vmid)); err != nil {
		t.Fatal(err)
	}
	r.hv.Fail("Detach", driver.ErrPending)
	_, err := r.Apply(t.Context(), job())
	wantError(t, err, fault.Invalid, "shut the guest down", "it has the old one")
}

// Nodes that share a store share the record: what one does to a guest that it does
// not have would end the tokens of the one that runs elsewhere.
func TestAGuestElsewhereKeepsItsTokens(t *testing.T) {
	for name, work := range map[string]func(*provision.Provisioner) error{
		"remove": func(p *provision.Provisioner) error { _, err := p.Remove(t.Context(), vmid, true); return err },
		"add":    func(p *provision.Provisioner) error { _, err := p.Register(t.Context(), vmid); return err },
		"rotate": func(p *provision.Provisioner) error { _, err := p.Rotate(t.Context(), vmid); return err },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.add(t)
			before, err := r.store.Get(vmid)
			if err != nil {
				t.Fatal(err)
			}
			isElsewhere := true
			r.IsElsewhere = func(v int) bool { return v == vmid && isElsewhere }
			err = work(provision.New(r.Options))
			after, getErr := r.store.Get(vmid)
			if diff := cmp.Diff(before, after); getErr != nil || diff != "" {
				t.Errorf("record: %v (-before +after):\n%s", getErr, diff)
			}
			wantError(t, err, fault.Invalid, "on that node", "another node")
			isElsewhere = false
			if err := work(provision.New(r.Options)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A guest that stays keeps no mount whose directory is gone.
func TestRemoveDetachesWhatStays(t *testing.T) {
	t.Run("not created here", func(t *testing.T) {
		r := newRig(t)
		r.add(t)
		r.hv.Put(driver.Guest{VMID: vmid, State: driver.Stopped, Hostname: "foreign"})
		if err := r.hv.Attach(t.Context(), vmid, driver.Mount{Source: r.Mounts.Path(vmid), Target: configmount.Target, ReadOnly: true}); err != nil {
			t.Fatal(err)
		}
		r.hv.Fail("Detach", driver.ErrPending)
		_, err := r.Remove(t.Context(), vmid, true)
		wantError(t, err, fault.Invalid, "shut the guest down", "still has its mount")
		if !r.Mounts.Exists(vmid) {
			t.Error("the directory is gone from under the guest")
		}
		r.hv.Fail("Detach", nil)
		if _, err := r.Remove(t.Context(), vmid, true); err != nil {
			t.Fatal(err)
		}
		if g := r.guest(t); len(g.Mounts) > 0 || r.Mounts.Exists(vmid) {
			t.Errorf("mounts %v, directory exists %v", g.Mounts, r.Mounts.Exists(vmid))
		}
	})
	t.Run("own guest whose notes were edited", func(t *testing.T) {
		r := newRig(t)
		r.apply(t, job(), provision.Provisioned)
		g := r.guest(t)
		g.Description = "my web server"
		r.hv.Put(g)
		_, err := r.Remove(t.Context(), vmid, true)
		wantError(t, err, fault.Invalid, "felhom-agentd: provision ", "no longer says so")
		if !r.Mounts.Exists(vmid) {
			t.Error("the directory is gone from under the guest")
		}
	})
	t.Run("no hypervisor to ask", func(t *testing.T) {
		r := newRig(t)
		r.add(t)
		r.hv.Fail("Guest", driver.ErrNotReady)
		if _, err := r.Remove(t.Context(), vmid, false); err != nil {
			t.Error(err)
		}
	})
}

// What the operator had put into the directory stays, what the failed run wrote
// there does not: it holds credentials.
func TestFailureLeavesNoCredentialInAnExistingMount(t *testing.T) {
	r := newRig(t)
	template := filepath.Join(r.Mounts.Path(vmid), "controller.yaml.tmpl")
	if err := errors.Join(os.MkdirAll(filepath.Dir(template), 0o750), os.WriteFile(template, []byte("x"), 0o640)); err != nil {
		t.Fatal(err)
	}
	r.hv.Fail("Start", errBroken)
	if _, err := r.Apply(t.Context(), job()); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(template))
	if err != nil || len(entries) != 1 || entries[0].Name() != "controller.yaml.tmpl" {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}
