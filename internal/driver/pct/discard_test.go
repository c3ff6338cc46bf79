package pct_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
	"github.com/felhom/felhom-golden/internal/fault"
)

// pause begins a restore of guest vmid and returns when it is in the middle, with
// what ends it and where its error comes.
func pause(t *testing.T, n *pcttest.Node, d *pct.Driver, f pcttest.Faults, s driver.Spec) (cancel context.CancelFunc, result <-chan error) {
	t.Helper()
	f.PauseRestore, f.Touch = true, filepath.Join(t.TempDir(), "paused")
	n.SetFaults(f)
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	go func() { errs <- d.Restore(ctx, vmid, s, nil) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(f.Touch); err == nil {
			return cancel, errs
		}
		select {
		case <-tick.C:
		case err := <-errs:
			t.Fatalf("the restore ended before it paused: %v", err)
		}
	}
}

// Volumes of a guest's number may be the last copy of data, on each storage.
func TestVolumesOfOthersStay(t *testing.T) {
	const other, block = "8200/vm-8200-disk-0.raw", "vm-8200-disk-0"
	bed := func(t *testing.T) (*pcttest.Node, *pct.Driver) {
		t.Helper()
		n, d := newDriver(t)
		n.SetStorage("other", pcttest.Storage{Type: "dir", Content: "rootdir", Avail: 1 << 40, Volumes: []string{other}})
		return n, d
	}
	stays := func(t *testing.T, n *pcttest.Node) {
		t.Helper()
		if !slices.Equal(n.Volumes("other"), []string{other}) {
			t.Errorf("on the other storage is %v", n.Volumes("other"))
		}
	}
	t.Run("interrupted restore", func(t *testing.T) {
		n, d := bed(t)
		cancel, result := pause(t, n, d, pcttest.Faults{KeepPartial: true}, spec())
		if got := n.Volumes("local-lvm"); len(got) != 1 {
			t.Errorf("in the middle there is %v", got)
		}
		cancel()
		wantClass(t, <-result, context.Canceled)
		if got := n.Volumes("local-lvm"); len(got) != 0 {
			t.Errorf("the restore's own volume %v is left", got)
		}
		stays(t, n)
	})
	t.Run("discard", func(t *testing.T) {
		n, d := bed(t)
		n.MakePartial(vmid)
		if err := d.Discard(t.Context(), vmid, ""); err != nil {
			t.Error(err)
		}
		stays(t, n)
	})
	t.Run("discard of a restore killed together with its driver", func(t *testing.T) {
		n, d := bed(t)
		n.MakePartial(vmid)
		n.SetStorage("local-lvm", pcttest.Storage{Content: "rootdir", Avail: 1 << 40, Volumes: []string{block}})
		if err := d.Discard(t.Context(), vmid, ""); err != nil {
			t.Error(err)
		}
		wantClass(t, d.Restore(t.Context(), vmid, spec(), nil), driver.ErrExists, "local-lvm:"+block)
		stays(t, n)
	})
}

// A guest that a destroy has removed in part must not look whole when the next
// destroy is refused.
func TestRefusedDiscardLeavesAll(t *testing.T) {
	n, d := newDriver(t)
	n.SetConfig(vmid, guestConfig+"lock: destroyed\n")
	n.SetFaults(pcttest.Faults{HA: []int{vmid}})
	wantClass(t, d.Discard(t.Context(), vmid, ""), driver.ErrProtected)
	if g, err := d.Guest(t.Context(), vmid); err != nil || !g.Partial || !strings.Contains(n.Config(vmid), "lock: destroyed") {
		t.Errorf("guest %+v, %v", g, err)
	}
}

// The disks of a VM, or of another node's guest, are not leftovers.
func TestTakenElsewhere(t *testing.T) {
	for kind, word := range map[string]string{"qemu": "a VM (qemu) of node pve2", "lxc": "a container (lxc) of node pve2"} {
		t.Run(kind, func(t *testing.T) {
			n, d := newDriver(t)
			n.SetElsewhere(vmid, "pve2", kind)
			n.SetStorage("local-lvm", pcttest.Storage{Content: "rootdir", Avail: 1 << 40, Volumes: []string{"vm-8200-disk-0"}})
			err := d.Restore(t.Context(), vmid, spec(), nil)
			wantClass(t, err, driver.ErrExists, word)
			if hint := fault.HintOf(err); hint == "" || strings.Contains(hint+err.Error(), "pvesm free") {
				t.Errorf("hint %q of %v", hint, err)
			}
		})
	}
	t.Run("while a restore is undone", func(t *testing.T) {
		n, d := newDriver(t)
		cancel, result := pause(t, n, d, pcttest.Faults{KeepPartial: true}, spec())
		n.SetElsewhere(vmid, "pve2", "qemu")
		cancel()
		wantClass(t, <-result, context.Canceled, "vm-8200-disk-0 left alone")
		if got := n.Volumes("local-lvm"); len(got) != 1 {
			t.Errorf("left is %v", got)
		}
	})
}

// PVE's list of tasks names a clone's source alone.
func TestCloneTargetStays(t *testing.T) {
	clone := []pcttest.Task{{PID: 7, Type: "vzclone", ID: "9100", Status: "RUNNING"}}
	for id := range 60 { // behind the first page of the list
		clone = append([]pcttest.Task{{ID: strconv.Itoa(id), Type: "vncproxy", Status: "RUNNING"}}, clone...)
	}
	t.Run("discard", func(t *testing.T) {
		n, d := newDriver(t)
		n.MakePartial(vmid)
		n.SetTasks(clone...)
		wantClass(t, d.Discard(t.Context(), vmid, ""), driver.ErrBusy, "UPID:pve:00000007:")
		if g, err := d.Guest(t.Context(), vmid); err != nil || !g.Partial {
			t.Errorf("guest %+v, %v", g, err)
		}
	})
	t.Run("undo", func(t *testing.T) {
		n, d := newDriverOf(t, 3*time.Second)
		cancel, result := pause(t, n, d, pcttest.Faults{KeepPartial: true}, spec())
		n.SetTasks(clone...)
		cancel()
		wantClass(t, <-result, driver.ErrBusy, "UPID:pve:00000007:")
		if !strings.Contains(n.Config(vmid), "lock: create") {
			t.Errorf("config\n%s", n.Config(vmid))
		}
	})
	t.Run("undo without a guest", func(t *testing.T) {
		n, d := newDriver(t)
		n.SetTasks(clone...)
		n.SetFaults(pcttest.Faults{DiskFull: true})
		if err := d.Restore(t.Context(), vmid, spec(), nil); !errors.Is(err, driver.ErrNoSpace) || errors.Is(err, driver.ErrBusy) {
			t.Errorf("error %v", err)
		}
	})
}

// A worker that outlives pct and the wait for it is left alone, by its name.
func TestUndoOfLivingTask(t *testing.T) {
	n, d := newDriverOf(t, 3*time.Second)
	cancel, result := pause(t, n, d, pcttest.Faults{KeepPartial: true}, spec())
	n.SetTasks(pcttest.Task{PID: 8, Type: "vzrestore", ID: "8200", Status: "RUNNING"})
	cancel()
	err := <-result
	wantClass(t, err, driver.ErrBusy, "UPID:pve:00000008:")
	wantClass(t, err, context.Canceled)
	if len(n.Volumes("local-lvm")) != 1 || !strings.Contains(n.Config(vmid), "lock: create") {
		t.Errorf("a living task's guest was touched: %v\n%s", n.Volumes("local-lvm"), n.Config(vmid))
	}
}

// A whole guest that exists where a restore failed was not made by it, unless
// it has the description that was asked for.
func TestUndoOfWholeGuest(t *testing.T) {
	for name, c := range map[string]struct {
		asked, found string
		stays        bool
	}{
		"other description": {"felhom 1", "#mine\n", true},
		"none":              {"felhom 1", "", true},
		"none asked for":    {"", "", true},
		"the same":          {"felhom 1", "#felhom 1\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			n, d := newDriver(t)
			s := spec()
			s.Description = c.asked
			cancel, result := pause(t, n, d, pcttest.Faults{KeepPartial: true}, s)
			n.SetConfig(vmid, c.found+guestConfig)
			cancel()
			err := <-result
			wantClass(t, err, context.Canceled)
			_, guestErr := d.Guest(t.Context(), vmid)
			switch {
			case c.stays && (guestErr != nil || len(n.Volumes("local-lvm")) != 1):
				t.Errorf("%v; guest %v, volumes %v", err, guestErr, n.Volumes("local-lvm"))
			case c.stays:
				wantClass(t, err, driver.ErrExists, "8200 is not this restore's, left alone")
			case !errors.Is(guestErr, driver.ErrNotFound):
				t.Errorf("%v; guest %v", err, guestErr)
			}
		})
	}
}
