package provision_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/driver"
)

// What a run says of a clone in the journal is not true of the guest that the next
// run restores: a third one must not remove that guest as the rest of a clone.
func TestRestoredAfterAKilledClone(t *testing.T) {
	for name, at := range map[string]func(*rig, func()){
		"in the clone":        atCall("Clone"),
		"before its settings": atCall("settings"),
		"whole and removed by hand": func(r *rig, die func()) {
			r.Observer = &onEnd{steps: r.steps, step: "restore done", do: func() {
				if err := r.hv.Destroy(t.Context(), vmid); err != nil {
					t.Error(err)
				}
				die()
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newCloneRig(t)
			kill := func(at func(*rig, func())) {
				r.killWork(t, at, func() {
					_, err := r.Apply(t.Context(), r.jobFor(vmid))
					t.Errorf("the run was not killed: %v", err)
				})
			}
			kill(at)
			r.Clone = provision.CloneNever
			kill(atStep("start done"))
			restored, discards := r.guest(t), r.discards()
			r.apply(t, r.jobFor(vmid), provision.Finished)
			if got := r.guest(t); got.Net.MAC != restored.Net.MAC || r.discards() != discards {
				t.Errorf("the restored guest was removed: MAC %s, had %s", got.Net.MAC, restored.Net.MAC)
			}
			record, err := r.store.Get(vmid)
			no(t, err)
			want(t, "template in the record", record.Provisioned.Template, 0)
		})
	}
}

func (r *rig) discards() int {
	return len(slices.DeleteFunc(r.hv.Calls(), func(c string) bool { return c != "DiscardClone 8200" }))
}

// A killed write of the list of templates leaves a file, which the next run removes.
func TestTemporaryFileOfTheListOfTemplates(t *testing.T) {
	r := newCloneRig(t)
	name := filepath.Join(r.StateDir, "provision/.templates.json.ABCDEFGH.tmp")
	no(t, os.MkdirAll(filepath.Dir(name), 0o700))
	no(t, os.WriteFile(name, []byte("{"), 0o600))
	r.apply(t, r.jobFor(vmid), provision.Provisioned)
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a run: %v", err)
	}
}

// A host without templates does not need readable records to say so.
func TestNoTemplatesAndADamagedRecord(t *testing.T) {
	r := newCloneRig(t)
	no(t, os.WriteFile(filepath.Join(r.StateDir, "guests/8300.json"), []byte("{"), 0o600))
	want(t, "templates", r.states(t), []string(nil))
	if _, broken, err := r.store.List(); err != nil || len(broken) != 1 {
		t.Errorf("broken records %v, %v, want one", broken, err)
	}
}

// A template that cannot be removed, of another image or of this one, is left for the next
// run: new guests do not need it.
func TestCloneBesideATemplateThatCannotBeRemoved(t *testing.T) {
	for name, next := range map[string]func(t *testing.T, r *rig){
		"of another image": func(t *testing.T, r *rig) { r.Golden = r.image(t, "second") },
		"of the same one":  func(*testing.T, *rig) {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newCloneRig(t)
			r.Clone = provision.CloneAlways
			r.apply(t, r.jobFor(vmid), provision.Provisioned)
			_, err := r.Remove(t.Context(), vmid, true)
			no(t, err)
			r.hv.Fail("RemoveTemplate", errBroken)
			_, err = provision.New(r.Options).PruneTemplates(t.Context(), true)
			if !errors.Is(err, errBroken) {
				t.Errorf("error %v, want %v", err, errBroken)
			}
			next(t, r)
			r.apply(t, r.jobFor(vmid), provision.Provisioned)
			want(t, "clones", r.hv.ClonesOf(9901), []int{vmid})
			want(t, "templates", r.states(t), []string{"9900 unfinished []", "9901 current [8200]"})

			// What can be removed is, although something else cannot.
			_, err = r.Remove(t.Context(), vmid, true)
			no(t, err)
			r.hv.Fail("RemoveTemplate", nil)
			want(t, "pruned", r.prune(t, true), []int{9900, 9901})
		})
	}
	t.Run("while it is being made", func(t *testing.T) {
		r := newCloneRig(t)
		r.Clone = provision.CloneAlways
		r.killWork(t, atCall("FinishTemplate"), func() { _, _ = r.Apply(t.Context(), r.jobFor(vmid)) })
		r.hv.Fail("FinishTemplate", driver.ErrBusy)
		if _, err := r.Apply(t.Context(), r.jobFor(vmid)); !errors.Is(err, driver.ErrBusy) {
			t.Errorf("error %v, want %v: there would be two templates of one image", err, driver.ErrBusy)
		}
		r.hv.Fail("FinishTemplate", nil)
		r.apply(t, r.jobFor(vmid), provision.Provisioned)
		want(t, "clones", r.hv.ClonesOf(9900), []int{vmid})
	})
}

// One template that cannot be settled does not keep prune from the others.
func TestPruneContinues(t *testing.T) {
	r := newCloneRig(t)
	r.apply(t, r.jobFor(vmid), provision.Provisioned)
	_, err := r.Remove(t.Context(), vmid, true)
	no(t, err)
	r.Golden = r.image(t, "second")
	r.killWork(t, atCall("FinishTemplate"), func() { _, _ = r.Apply(t.Context(), r.jobFor(8201)) })
	r.hv.Fail("FinishTemplate", driver.ErrBusy)
	removed, err := provision.New(r.Options).PruneTemplates(t.Context(), true)
	if !errors.Is(err, driver.ErrBusy) {
		t.Errorf("error %v, want %v", err, driver.ErrBusy)
	}
	want(t, "removed", removed, []int{9900})
}

// What another program has made with a template's VMID stays, and what is not there cannot
// be removed: prune does not report either.
func TestPruneReportsWhatItDestroyed(t *testing.T) {
	const template = 9900
	unfinished := func(method string) func(*testing.T, *rig) {
		return func(t *testing.T, r *rig) {
			t.Helper()
			r.killWork(t, atCall(method), func() { _, _ = r.Apply(t.Context(), r.jobFor(vmid)) })
		}
	}
	ready := func(t *testing.T, r *rig) {
		t.Helper()
		r.apply(t, r.jobFor(vmid), provision.Provisioned)
		_, err := r.Remove(t.Context(), vmid, true)
		no(t, err)
	}
	nothing := func(*testing.T, *rig) {}
	taken := func(_ *testing.T, r *rig) {
		r.hv.Put(driver.Guest{VMID: template, State: driver.Stopped, Description: "another guest"})
	}
	for name, c := range map[string]struct {
		left, then      func(*testing.T, *rig)
		removed, guests []int
	}{
		"unfinished": {unfinished("Restore"), nothing, []int{template}, nil},
		"its removal interrupted": {func(t *testing.T, r *rig) {
			t.Helper()
			ready(t, r)
			r.killWork(t, atCall("RemoveTemplate"), func() { _, _ = provision.New(r.Options).PruneTemplates(t.Context(), true) })
		}, nothing, []int{template}, nil},
		"its VMID taken": {unfinished("FinishTemplate"), taken, nil, []int{template}},
		"its VMID taken before the restore": {unfinished("Restore"), func(t *testing.T, r *rig) {
			t.Helper()
			file := filepath.Join(r.StateDir, "provision/templates.json")
			data, err := os.ReadFile(file)
			no(t, err)
			no(t, os.WriteFile(file, bytes.Replace(data, []byte(`"has_disk": true`), []byte(`"has_disk": false`), 1), 0o600))
		}, nil, []int{template}},
		"unfinished and gone":     {unfinished("Restore"), func(t *testing.T, r *rig) { t.Helper(); no(t, r.hv.Discard(t.Context(), template, "")) }, nil, nil},
		"ready":                   {ready, nothing, []int{template}, nil},
		"ready and now another's": {ready, taken, nil, []int{template}},
		"ready and gone": {ready, func(t *testing.T, r *rig) {
			t.Helper()
			g, err := r.hv.Guest(t.Context(), template)
			no(t, err)
			no(t, r.hv.RemoveTemplate(t.Context(), template, g.Description, ""))
		}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newCloneRig(t)
			c.left(t, r)
			c.then(t, r)
			want(t, "pruned", r.prune(t, true), c.removed)
			want(t, "guests", r.hv.VMIDs(), c.guests)
			want(t, "pruned again", r.prune(t, true), []int(nil))
		})
	}
}
