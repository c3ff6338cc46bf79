package provision_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/lineage"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
)

// newClonePVE is newPVE whose guests are linked clones on a storage of that type.
func newClonePVE(t *testing.T, kind string) (*rig, *pcttest.Node, provision.Job) {
	t.Helper()
	r, n, j := newPVE(t)
	n.SetStorage("fast", pcttest.Storage{Type: kind, Content: "rootdir,images", Avail: 1 << 40})
	r.Clone, r.TemplateVMIDs, r.Golden = provision.CloneAuto, provision.Range{First: 9900, Last: 9901}, volume
	j.Spec.Storage = "fast"
	return r, n, j
}

// dyingClone is killed together with its worker in the middle of a clone.
type dyingClone struct {
	*pct.Driver
	kill func(template, vmid int, description string)
}

func (d dyingClone) Clone(ctx context.Context, t driver.Template, vmid int, s driver.Spec, p driver.Progress) error {
	return d.Driver.Clone(ctx, t, vmid, s, func(done, total int64) {
		p(done, total)
		d.kill(t.VMID, vmid, s.Description)
		runtime.Goexit()
	})
}

func TestKilledCloneOnPVE(t *testing.T) {
	for _, kind := range []string{"lvmthin", "zfspool"} {
		for _, at := range []string{"config", "disk"} {
			t.Run(kind+" at "+at, func(t *testing.T) {
				r, n, j := newClonePVE(t, kind)
				whole, ok := r.Hypervisor.(*pct.Driver)
				if !ok {
					t.Fatal("not PVE's driver")
				}
				kill := func() {
					r.Hypervisor = dyingClone{whole, func(template, vmid int, description string) { n.KillClone(template, vmid, description, at) }}
					r.killWork(t, func(*rig, func()) {}, func() {
						_, err := r.Apply(t.Context(), j)
						t.Errorf("the run was not killed: %v", err)
					})
					r.Hypervisor = whole
				}
				kill()
				n.SetTasks(pcttest.Task{PID: 7, Type: "vzclone", ID: "9900", Status: "RUNNING"})
				if _, err := r.Apply(t.Context(), j); !errors.Is(err, driver.ErrBusy) {
					t.Fatalf("while the task works: %v", err)
				}
				n.SetTasks()
				r.apply(t, j, provision.Finished)
				for _, word := range []string{"protection", "lock:", driver.TemplateTag} {
					if strings.Contains(n.Config(vmid), word) {
						t.Errorf("%q in the guest's\n%s", word, n.Config(vmid))
					}
				}
				if strings.Contains(n.Config(9900), "lock:") || len(n.Volumes("fast")) != 2 || len(n.Mounted()) > 0 {
					t.Errorf("volumes %v, mounts %v, template\n%s", n.Volumes("fast"), n.Mounted(), n.Config(9900))
				}
				want(t, "templates", r.states(t), []string{"9900 current [8200]"})
				if _, err := r.Remove(t.Context(), vmid, true); err != nil || len(n.Volumes("fast")) != 1 {
					t.Errorf("remove: %v, volumes %v", err, n.Volumes("fast"))
				}
				kill()
				if _, err := r.Remove(t.Context(), vmid, true); err != nil || len(n.Volumes("fast")) != 1 {
					t.Errorf("remove: %v, volumes %v", err, n.Volumes("fast"))
				}
				want(t, "pruned", r.prune(t, true), []int{9900})
				if len(n.Volumes("fast")) > 0 || len(n.Mounted()) > 0 {
					t.Errorf("left: %v, %v", n.Volumes("fast"), n.Mounted())
				}
			})
		}
	}
}

// A restore of the template that was killed with its worker is removed by the next
// run; one whose worker lives is not touched, and the guest is restored meanwhile.
func TestKilledTemplateOnPVE(t *testing.T) {
	r, n, j := newClonePVE(t, "zfspool")
	said := &detail{steps: r.steps}
	whole := r.Hypervisor
	r.Hypervisor = dyingRestore{dying: dying{whole, func(vmid int, s driver.Spec) { n.KillRestore(vmid, s.Archive, "fast") }}, Cloner: whole.(driver.Cloner)} //nolint:forcetypeassert // PVE's
	r.killWork(t, func(*rig, func()) {}, func() {
		_, err := r.Apply(t.Context(), j)
		t.Errorf("the run was not killed: %v", err)
	})
	r.Hypervisor, r.Observer = whole, said
	if !strings.Contains(n.Config(9900), "lock: create") {
		t.Fatalf("left is\n%s", n.Config(9900))
	}
	n.SetTasks(pcttest.Task{PID: 7, Type: "vzrestore", ID: "9900", Status: "RUNNING"})
	r.apply(t, j, provision.Finished)
	if len(said.texts) != 1 || !strings.Contains(said.texts[0], "restore: template 9900, which an interrupted run left") {
		t.Errorf("the step says %q", said.texts)
	}
	n.SetTasks()
	j.VMID = 8201
	r.apply(t, j, provision.Provisioned)
	want(t, "volumes", n.Volumes("fast"), []string{"subvol-8200-disk-0", "basevol-9900-disk-0", "basevol-9900-disk-0/subvol-8201-disk-0"})
	want(t, "templates", r.states(t), []string{"9900 current [8201]"})
}

// dyingRestore is dying, of a driver that clones.
type dyingRestore struct {
	dying
	driver.Cloner
}

// A conversion that ends in the middle is removed with its disks; the guest is
// restored, and the next one is a clone of a new template.
func TestFailedTemplateOnPVE(t *testing.T) {
	for _, ends := range []string{"disk", "config"} {
		t.Run(ends, func(t *testing.T) {
			r, n, j := newClonePVE(t, "lvmthin")
			n.SetFaults(pcttest.Faults{TemplateEnds: ends})
			r.apply(t, j, provision.Provisioned)
			want(t, "volumes", n.Volumes("fast"), []string{"vm-8200-disk-0"})
			n.SetFaults(pcttest.Faults{})
			j.VMID = 8201
			r.apply(t, j, provision.Provisioned)
			want(t, "templates", r.states(t), []string{"9900 current [8201]"})
		})
	}
}

// A linked clone is attached, started and detached as any guest, and its template
// stays as it is.
func TestCloneOnPVE(t *testing.T) {
	r, n, j := newClonePVE(t, "rbd")
	j.Spec.RootfsGiB = 9
	r.apply(t, j, provision.Provisioned)
	r.apply(t, j, provision.Unchanged)
	template := n.Config(9900)
	if config := n.Config(vmid); !strings.Contains(config, "rootfs: fast:base-9900-disk-0/vm-8200-disk-0,size=9G") || !strings.Contains(config, "mp0: ") {
		t.Errorf("guest\n%s", config)
	}
	if strings.Contains(template, "mp0") || !strings.Contains(template, "protection: 1") {
		t.Errorf("template\n%s", template)
	}
	unused := slices.DeleteFunc(n.Calls(), func(c string) bool { return !strings.HasPrefix(c, "pct restore 8200") })
	want(t, "restores of the guest", len(unused), 0)
	_, err := r.Remove(t.Context(), vmid, true)
	no(t, err)
	want(t, "template", n.Config(9900), template)

	r.Clone = provision.CloneAlways
	j.Spec.Storage = "data"
	_, err = r.Apply(t.Context(), j)
	if !errors.Is(err, driver.ErrNoClone) || !strings.Contains(err.Error(), "storage data (dir) cannot make linked clones") {
		t.Errorf("error %v", err)
	}
}

// A new clone is not taken for a copy of another guest, nor for one that was
// replaced, although PVE copies all that its template has.
func TestClonesAreNotCopies(t *testing.T) {
	r, n, j := newClonePVE(t, "zfspool")
	looker := lineage.Looker{ID: provision.IDOf, Files: func() (map[int]string, error) {
		files := map[int]string{}
		paths, err := filepath.Glob(filepath.Join(n.Dir("etc/pve/lxc"), "*.conf"))
		for _, path := range paths {
			if id, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(path), ".conf")); err == nil {
				files[id] = path
			}
		}
		return files, err
	}}
	var state lineage.State
	look := func() []lineage.Event {
		now, err := looker.Look()
		no(t, err)
		records, _, err := r.store.List()
		no(t, err)
		known := map[int]lineage.Known{}
		for _, record := range records {
			known[record.VMID] = lineage.Known{ID: record.Provisioned.ID, Mount: r.Mounts.Path(record.VMID)}
		}
		return state.Compare(now, known, func(int) bool { return false })
	}
	want(t, "events before", look(), []lineage.Event(nil))
	for _, id := range []int{8200, 8201} {
		j.VMID = id
		r.apply(t, j, provision.Provisioned)
		want(t, "events", look(), []lineage.Event(nil))
	}
	_, err := r.Remove(t.Context(), 8200, true)
	no(t, err)
	look()
	j.VMID = 8200
	r.apply(t, j, provision.Provisioned)
	want(t, "events of a VMID that is used again", look(), []lineage.Event(nil))
}
