package provision_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(pcttest.Tests{M: m}))
}

const volume = "local:backup/vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst"

// newPVE is a rig whose hypervisor is a node of PVE with a golden image on it.
func newPVE(t *testing.T) (*rig, *pcttest.Node, provision.Job) {
	t.Helper()
	n := pcttest.New(t)
	n.AddArchive(strings.TrimPrefix(volume, "local:backup/"), pcttest.Config, 0)
	n.SetStorage("data", pcttest.Storage{Type: "dir", Content: "rootdir,images", Avail: 1 << 40})
	d, err := pct.New(pct.Options{
		Pct: n.Bin("pct"), Pvesh: n.Bin("pvesh"), Pvesm: n.Bin("pvesm"), DpkgQuery: n.Bin("dpkg-query"),
		Node: pcttest.NodeName, NetDir: n.Dir("net"), PVEDir: n.Dir("etc/pve"), UnixSockets: n.Dir(pcttest.UnixSockets),
		TaskFile: n.Dir(pcttest.TaskFile), LXCDir: n.Dir("var/lib/lxc"), LocalDir: n.Dir("local"), MountInfo: n.Dir(pcttest.MountInfo), Unmount: n.Unmount,
		Poll: 5 * time.Millisecond, Settle: 50 * time.Millisecond, HA: 30 * time.Second, Clean: 10 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	r.Hypervisor = d
	j := job()
	j.Spec.Archive, j.Spec.Storage = volume, "data"
	return r, n, j
}

// dying is a driver that is killed together with its worker in the middle of a
// restore.
type dying struct {
	driver.Hypervisor
	kill func(vmid int, s driver.Spec)
}

func (d dying) Restore(ctx context.Context, vmid int, s driver.Spec, p driver.Progress) error {
	return d.Hypervisor.Restore(ctx, vmid, s, func(done, total int64) {
		p(done, total)
		d.kill(vmid, s)
		runtime.Goexit()
	})
}

func killed(t *testing.T, r *rig, n *pcttest.Node, j provision.Job, storage string) {
	t.Helper()
	whole := r.Hypervisor
	r.Hypervisor = dying{whole, func(vmid int, s driver.Spec) { n.KillRestore(vmid, s.Archive, storage) }}
	r.killWork(t, func(*rig, func()) {}, func() {
		_, err := r.Apply(t.Context(), j)
		t.Errorf("the run was not killed: %v", err)
	})
	r.Hypervisor = whole
	if n.Config(vmid) != "lock: create\n" || len(n.Volumes(storage)) != 1 || len(n.Mounted()) != 1 {
		t.Fatalf("left is %q, %v, %v", n.Config(vmid), n.Volumes(storage), n.Mounted())
	}
}

func TestKilledRestoreOnPVE(t *testing.T) {
	for name, storage := range map[string]string{"block storage": "local-lvm", "directory": "data", "the archive's storage": ""} {
		t.Run(name, func(t *testing.T) {
			r, n, j := newPVE(t)
			if storage == "" { // none is asked for
				n.SetStorage("other", pcttest.Storage{Content: "rootdir", Avail: 1 << 40})
			}
			j.Spec.Storage = storage
			where := storage
			if where == "" {
				where = "other"
			}
			killed(t, r, n, j, where)
			n.SetTasks(pcttest.Task{PID: 7, Type: "vzrestore", ID: "8200", Status: "RUNNING"})
			if _, err := r.Apply(t.Context(), j); !errors.Is(err, driver.ErrBusy) || fault.Of(err) != fault.NotReady {
				t.Fatalf("while the task is listed: %v", err)
			}
			n.SetTasks()
			r.apply(t, j, provision.Finished)
			if got := n.Volumes(where); len(got) != 1 || len(n.Mounted()) > 0 {
				t.Errorf("volumes %v, mounts %v", got, n.Mounted())
			}
			if _, err := r.Remove(t.Context(), vmid, true); err != nil || len(n.Volumes(where)) > 0 || len(r.left(t)) > 0 {
				t.Errorf("remove: %v, left %v, %v", err, n.Volumes(where), r.left(t))
			}
		})
	}
	t.Run("removed", func(t *testing.T) {
		r, n, j := newPVE(t)
		killed(t, r, n, j, "data")
		if _, err := r.Remove(t.Context(), vmid, true); err != nil || len(n.Volumes("data"))+len(n.Mounted())+len(r.left(t)) > 0 {
			t.Errorf("remove: %v, left %v, %v, %v", err, n.Volumes("data"), n.Mounted(), r.left(t))
		}
	})
	t.Run("on another storage then", func(t *testing.T) {
		r, n, j := newPVE(t)
		killed(t, r, n, j, "data")
		j.Spec.Storage = "local-lvm"
		r.apply(t, j, provision.Finished)
		if len(n.Volumes("data")) > 0 || len(n.Volumes("local-lvm")) != 1 {
			t.Errorf("volumes %v and %v", n.Volumes("data"), n.Volumes("local-lvm"))
		}
	})
	// Killed before it was known that the storage has no disk of that VMID.
	t.Run("disks of others stay", func(t *testing.T) {
		r, n, j := newPVE(t)
		j.Spec.Storage = "local-lvm"
		n.SetStorage("local-lvm", pcttest.Storage{Content: "rootdir", Avail: 1 << 40, Volumes: []string{"vm-8200-disk-7"}})
		if _, err := r.Apply(t.Context(), j); !errors.Is(err, driver.ErrExists) {
			t.Fatalf("error %v", err)
		}
		n.MakePartial(vmid)
		if _, err := r.Remove(t.Context(), vmid, true); err != nil && !errors.Is(err, provision.ErrKnownNothing) {
			t.Errorf("remove: %v", err)
		}
		if !slices.Contains(n.Volumes("local-lvm"), "vm-8200-disk-7") {
			t.Errorf("volumes %v", n.Volumes("local-lvm"))
		}
	})
}

// What PVE refuses to remove stays as whole as it is, and nothing of it is unfinished work.
func TestRemoveRefusedOnPVE(t *testing.T) {
	for name, c := range map[string]struct {
		line   string
		faults pcttest.Faults
		want   error
		after  provision.Outcome
	}{
		"protection":  {"protection: 1\n", pcttest.Faults{}, driver.ErrProtected, provision.Started},
		"backup":      {"lock: backup\n", pcttest.Faults{}, driver.ErrBusy, provision.Unchanged},
		"snapshot":    {"lock: snapshot\n", pcttest.Faults{}, driver.ErrBusy, provision.Unchanged},
		"replication": {"", pcttest.Faults{Replicated: []int{vmid}}, driver.ErrProtected, provision.Started},
		"no quorum":   {"", pcttest.Faults{NoQuorum: true}, driver.ErrNotReady, provision.Started},
	} {
		t.Run(name, func(t *testing.T) {
			r, n, j := newPVE(t)
			r.apply(t, j, provision.Provisioned)
			n.SetConfig(vmid, n.Config(vmid)+c.line)
			n.SetFaults(c.faults)
			for range 2 {
				if _, err := r.Remove(t.Context(), vmid, true); !errors.Is(err, c.want) {
					t.Fatalf("error %v, want %v", err, c.want)
				}
			}
			if unfinished, err := provision.Unfinished(r.StateDir); err != nil || len(unfinished) > 0 {
				t.Errorf("unfinished: %v, %v", unfinished, err)
			}
			n.SetConfig(vmid, strings.Replace(n.Config(vmid), c.line, "", 1))
			n.SetFaults(pcttest.Faults{})
			r.apply(t, j, c.after)
			if _, err := r.Remove(t.Context(), vmid, true); err != nil || len(n.Volumes("data")) > 0 || len(r.left(t)) > 0 {
				t.Errorf("remove: %v, left %v, %v", err, n.Volumes("data"), r.left(t))
			}
		})
	}
}
