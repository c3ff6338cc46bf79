package provision_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/fault"
)

// newCloneRig is a rig whose guests are linked clones, with a golden image that is a
// file: its bytes identify it.
func newCloneRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.Clone, r.TemplateVMIDs = provision.CloneAuto, provision.Range{First: 9900, Last: 9902}
	r.hv.SetCloning("")
	r.Golden = r.image(t, "first")
	return r
}

// image makes an archive of those bytes.
func (r *rig) image(t *testing.T, bytes string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "golden.tar.zst")
	no(t, os.WriteFile(path, []byte(bytes), 0o600))
	r.hv.AddArchive(path, drivertest.FakeArchive{Config: []byte(pctConf)})
	return path
}

func (r *rig) jobFor(vmid int) provision.Job {
	j := job()
	j.VMID, j.Spec.Archive = vmid, r.Golden
	return j
}

func (r *rig) prune(t *testing.T, all bool) []int {
	t.Helper()
	removed, err := provision.New(r.Options).PruneTemplates(t.Context(), all)
	no(t, err)
	return removed
}

func (r *rig) states(t *testing.T) (list []string) {
	t.Helper()
	all, err := provision.New(r.Options).Templates(t.Context())
	no(t, err)
	for _, one := range all {
		list = append(list, fmt.Sprintf("%d %s %v", one.VMID, one.State, one.Guests))
	}
	return list
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// detail is an observer that remembers what the steps said.
type detail struct {
	*steps
	texts []string
}

func (d *detail) Ended(vmid int, step provision.Step, r provision.StepResult) {
	d.steps.Ended(vmid, step, r)
	if step == provision.StepRestore {
		d.texts = append(d.texts, r.Detail)
	}
}

func TestClones(t *testing.T) {
	r := newCloneRig(t)
	said := &detail{steps: r.steps}
	r.Observer = said
	for _, vmid := range []int{8200, 8201} {
		r.apply(t, r.jobFor(vmid), provision.Provisioned)
		r.apply(t, r.jobFor(vmid), provision.Unchanged)
	}
	want(t, "clones", r.hv.ClonesOf(9900), []int{8200, 8201})
	want(t, "templates", r.states(t), []string{"9900 current [8200 8201]"})
	for _, text := range said.texts {
		if !strings.HasSuffix(text, ", linked clone of template 9900") {
			t.Errorf("the step says %q", text)
		}
	}
	if n := len(slices.DeleteFunc(r.hv.Calls(), func(c string) bool { return !strings.HasPrefix(c, "Restore ") })); n != 1 {
		t.Errorf("%d restores, want one", n)
	}
	want(t, "pruned with guests", r.prune(t, true), []int(nil))
	for _, vmid := range []int{8200, 8201} {
		_, err := r.Remove(t.Context(), vmid, true)
		no(t, err)
	}
	want(t, "templates without guests", r.states(t), []string{"9900 current []"})
	want(t, "pruned", r.prune(t, false), []int(nil))
	want(t, "pruned all", r.prune(t, true), []int{9900})
	want(t, "left", r.left(t), []string{"state/provision/templates.json"})
}

// Many at once make one template.
func TestClonesAtOnce(t *testing.T) {
	r := newCloneRig(t)
	var all sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		all.Go(func() {
			options := r.Options
			options.Observer = &steps{}
			_, errs[i] = provision.New(options).Provision(t.Context(), r.jobFor(8200+i))
		})
	}
	all.Wait()
	no(t, errors.Join(errs...))
	want(t, "clones", r.hv.ClonesOf(9900), []int{8200, 8201, 8202, 8203, 8204, 8205})
	want(t, "guests", len(r.hv.VMIDs()), 7)
}

func TestCloneFallsBack(t *testing.T) {
	foreign := driver.Guest{State: driver.Stopped, Description: "another guest"}
	for _, c := range []struct {
		name    string
		prepare func(*rig)
		said    string
	}{
		{"storage", func(r *rig) { r.hv.SetCloning() }, "restore: storage (fake) cannot make linked clones"},
		{"no template can be made", func(r *rig) { r.hv.Fail("FinishTemplate", errBroken) }, "restore: make template 9900: guest 9900: " + errBroken.Error()},
		{"no free VMID", func(r *rig) {
			for vmid := 9900; vmid <= 9902; vmid++ {
				g := foreign
				g.VMID = vmid
				r.hv.Put(g)
			}
		}, "restore: no VMID from 9900 to 9902 is free for a template"},
		{"a hypervisor that cannot", func(r *rig) { r.Hypervisor = plain{r.hv} }, "restore: this hypervisor makes no linked clones"},
		{"a clone that fails", func(r *rig) { r.hv.Fail("Clone", errBroken) }, "restore: guest 8200: " + errBroken.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newCloneRig(t)
			said := &detail{steps: r.steps}
			r.Observer = said
			c.prepare(r)
			before := len(r.hv.VMIDs())
			r.apply(t, r.jobFor(vmid), provision.Provisioned)
			if len(said.texts) != 1 || !strings.Contains(said.texts[0], c.said) {
				t.Errorf("the step says %q, want %q in it", said.texts, c.said)
			}
			r.apply(t, r.jobFor(vmid), provision.Unchanged)
			_, err := r.Remove(t.Context(), vmid, true)
			no(t, err)

			r.Clone = provision.CloneAlways
			_, err = r.Apply(t.Context(), r.jobFor(vmid))
			if err == nil || fault.HintOf(err) == "" {
				t.Errorf("with always: error %v, hint %q", err, fault.HintOf(err))
			}
			if made := len(r.hv.VMIDs()) - before; made > 1 || r.hv.Calls() == nil { // a template may be left
				t.Errorf("%d guests are left", made)
			}
			if _, err := r.store.Get(vmid); err == nil {
				t.Error("the failed guest has a record")
			}
		})
	}
	t.Run("a clone that leaves a part", func(t *testing.T) {
		r := newCloneRig(t)
		r.hv.Kill("Clone", func() {}) // it returns
		if _, err := r.Apply(t.Context(), r.jobFor(vmid)); !errors.Is(err, drivertest.ErrKilled) {
			t.Errorf("error %v", err)
		}
		want(t, "guests", r.hv.VMIDs(), []int{9900})
		r.apply(t, r.jobFor(vmid), provision.Provisioned)
		want(t, "clones", r.hv.ClonesOf(9900), []int{vmid})
	})
	t.Run("never", func(t *testing.T) {
		r := newCloneRig(t)
		r.Clone = provision.CloneNever
		r.apply(t, r.jobFor(vmid), provision.Provisioned)
		want(t, "guests", r.hv.VMIDs(), []int{vmid})
	})
}

// plain hides what a driver can do beside a Hypervisor.
type plain struct{ driver.Hypervisor }

// Others' guests are never touched, whatever they say of themselves.
func TestTemplatesOfOthers(t *testing.T) {
	r := newCloneRig(t)
	r.apply(t, r.jobFor(8200), provision.Provisioned)
	made, err := r.hv.Guest(t.Context(), 9900)
	no(t, err)
	forged := made
	forged.VMID = 9901
	r.hv.Put(forged)
	no(t, r.hv.FinishTemplate(t.Context(), 9901, forged.Description))
	want(t, "templates", r.states(t), []string{"9900 current [8200]", "9901 foreign []"})
	r.Golden = r.image(t, "second")
	r.apply(t, r.jobFor(8201), provision.Provisioned)
	want(t, "clones of the new image", r.hv.ClonesOf(9902), []int{8201})
	r.prune(t, true)
	want(t, "guests", r.hv.VMIDs(), []int{8200, 8201, 9900, 9901, 9902})

	// A template that is another guest now is not used, and stays.
	changed := made
	changed.Description = "an operator's own"
	r.hv.Put(changed)
	want(t, "templates", r.states(t), []string{"9900 missing [8200]", "9902 current [8201]", "9901 foreign []"})
	_, err = r.Remove(t.Context(), 8200, true)
	no(t, err)
	r.prune(t, true)
	want(t, "guests", r.hv.VMIDs(), []int{8201, 9900, 9901, 9902})
}

// A new golden image gets a template of its own; the old one goes with its last guest.
func TestNewGoldenImage(t *testing.T) {
	r := newCloneRig(t)
	r.apply(t, r.jobFor(8200), provision.Provisioned)
	first := r.Golden
	r.Golden = r.image(t, "second")
	r.apply(t, r.jobFor(8201), provision.Provisioned)
	want(t, "templates", r.states(t), []string{"9900 stale [8200]", "9901 current [8201]"})
	want(t, "pruned", r.prune(t, false), []int(nil))
	_, err := r.Remove(t.Context(), 8200, true)
	no(t, err)
	want(t, "templates after the last guest", r.states(t), []string{"9901 current [8201]"})
	_, err = r.Remove(t.Context(), 8201, true)
	no(t, err)
	want(t, "the current one stays", r.states(t), []string{"9901 current []"})

	// The same name with other bytes is another image.
	no(t, os.WriteFile(r.Golden, []byte("third"), 0o600))
	r.apply(t, r.jobFor(8202), provision.Provisioned)
	if got := r.states(t); !slices.Contains(got, "9900 current [8202]") {
		t.Errorf("templates %v", got)
	}
	_ = first
}

func TestTemplateRemovedByHand(t *testing.T) {
	r := newCloneRig(t)
	r.apply(t, r.jobFor(8200), provision.Provisioned)
	_, err := r.Remove(t.Context(), 8200, true)
	no(t, err)
	g, err := r.hv.Guest(t.Context(), 9900)
	no(t, err)
	no(t, r.hv.RemoveTemplate(t.Context(), 9900, g.Description, ""))
	want(t, "templates", r.states(t), []string{"9900 missing []"})
	r.apply(t, r.jobFor(8201), provision.Provisioned)
	want(t, "templates", r.states(t), []string{"9900 current [8201]"})
}

// Killed at every point of a clone and of its template: the same command finishes
// the guest, as a clone, and a removal leaves nothing.
func TestKilledClone(t *testing.T) {
	for _, c := range []struct {
		name string
		at   func(*rig, func())
	}{
		{"after the check", atStep("check done")},
		{"after the mount", atStep("mount done")},
		{"in the template's restore", atCall("Restore")},
		{"in the conversion", atCall("FinishTemplate")},
		{"in the clone", atCall("Clone")},
		{"before the clone's settings", atCall("settings")},
		{"after the clone", atStep("restore done")},
		{"in the attach", atCall("Attach")},
		{"after the start", atStep("start done")},
	} {
		killed := func(t *testing.T) *rig {
			t.Helper()
			r := newCloneRig(t)
			r.killWork(t, c.at, func() {
				_, err := r.Apply(t.Context(), r.jobFor(vmid))
				t.Errorf("the run was not killed: %v", err)
			})
			return r
		}
		t.Run(c.name, func(t *testing.T) {
			r := killed(t)
			if _, err := r.Apply(t.Context(), r.jobFor(vmid)); err != nil {
				t.Fatal(err)
			}
			r.apply(t, r.jobFor(vmid), provision.Unchanged)
			g := r.guest(t)
			if g.Hostname != "web" || g.State != driver.Running || len(g.Mounts) != 1 {
				t.Errorf("guest %+v", g)
			}
			want(t, "guests", r.hv.VMIDs(), []int{vmid, 9900})
			want(t, "clones", r.hv.ClonesOf(9900), []int{vmid})
			want(t, "templates", r.states(t), []string{"9900 current [8200]"})
			_, err := r.Remove(t.Context(), vmid, true)
			no(t, err)
			r.prune(t, true)
			want(t, "left", r.left(t), []string{"state/provision/templates.json"})

			r = killed(t)
			if _, err := r.Remove(t.Context(), vmid, true); err != nil && !errors.Is(err, provision.ErrKnownNothing) {
				t.Error(err)
			}
			r.prune(t, true)
			if left := slices.DeleteFunc(r.left(t), func(n string) bool { return n == "state/provision/templates.json" }); len(left) > 0 {
				t.Errorf("left after the removal: %v", left)
			}
		})
	}
}

// Killed while a template is removed: the next run removes it.
func TestKilledTemplateRemoval(t *testing.T) {
	r := newCloneRig(t)
	r.apply(t, r.jobFor(vmid), provision.Provisioned)
	_, err := r.Remove(t.Context(), vmid, true)
	no(t, err)
	r.killWork(t, atCall("RemoveTemplate"), func() {
		removed, err := provision.New(r.Options).PruneTemplates(t.Context(), true)
		t.Errorf("not killed: %v, %v", removed, err)
	})
	want(t, "templates", r.states(t), []string{"9900 unfinished []"})
	want(t, "pruned", r.prune(t, false), []int{9900})
	want(t, "guests", r.hv.VMIDs(), []int(nil))
}

func TestDamagedListOfTemplates(t *testing.T) {
	r := newCloneRig(t)
	file := filepath.Join(r.StateDir, "provision/templates.json")
	no(t, os.MkdirAll(filepath.Dir(file), 0o700))
	no(t, os.WriteFile(file, []byte("{}"), 0o600))
	_, err := provision.New(r.Options).Templates(t.Context())
	wantError(t, err, fault.Invalid, driver.TemplateTag, file+" is not a list of templates")
	r.apply(t, r.jobFor(vmid), provision.Provisioned) // restored
	want(t, "guests", r.hv.VMIDs(), []int{vmid})
	if data, err := os.ReadFile(file); err != nil || string(data) != "{}" {
		t.Errorf("the list is %q, %v", data, err)
	}
}
