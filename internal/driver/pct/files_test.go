package pct_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
)

func realDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantCalls compares how often each program was started since the last time.
func wantCalls(t *testing.T, n *pcttest.Node, what string, seen map[string]int, pctCalls, pvesm int) {
	t.Helper()
	for program, want := range map[string]int{"pct": pctCalls, "pvesm": pvesm, "pvesh": 0} {
		lines := n.Started(program)
		if got := lines[seen[program]:]; len(got) != want {
			t.Errorf("%s started %s %d times, want %d: %q", what, program, len(got), want, got)
		}
		seen[program] = len(lines)
	}
}

// provisioned does with a guest what provisioning does.
func provisioned(t *testing.T, d *pct.Driver, s driver.Spec, m driver.Mount) {
	t.Helper()
	ctx := t.Context()
	if _, err := d.Guest(ctx, vmid); !errors.Is(err, driver.ErrNotFound) {
		t.Fatalf("guest: %v", err)
	}
	err := d.Check(ctx, vmid, s)
	_, confErr := d.ArchiveConfig(ctx, s.Archive)
	if err = errors.Join(err, confErr, d.Restore(ctx, vmid, s, nil)); err != nil {
		t.Fatal(err)
	}
	_, err = d.Guest(ctx, vmid)
	if err = errors.Join(err, d.Attach(ctx, vmid, m), d.Start(ctx, vmid)); err != nil {
		t.Fatal(err)
	}
	if st, err := d.Status(ctx, vmid); err != nil || st.State != driver.Running {
		t.Fatalf("status %+v, %v", st, err)
	}
}

// Each of PVE's programs takes a second of a processor to start.
func TestFewPrograms(t *testing.T) {
	for storage, pvesm := range map[string]int{"data": 0, "local-lvm": 1} {
		t.Run(storage, func(t *testing.T) {
			n, d := newDriver(t)
			dirStorage(t, n)
			s, ctx, seen := spec(), t.Context(), map[string]int{}
			s.Storage = storage
			m := driver.Mount{Source: realDir(t), Target: "/etc/felhom-bootstrap", ReadOnly: true}
			provisioned(t, d, s, m)
			wantCalls(t, n, "provision", seen, 3, pvesm)
			if _, err := d.Status(ctx, vmid); err != nil {
				t.Error(err)
			}
			_, err := d.Guest(ctx, vmid)
			if err = errors.Join(err, d.Check(ctx, 8201, s)); err != nil {
				t.Error(err)
			}
			wantCalls(t, n, "a look and a check", seen, 0, 0)
			other := driver.Mount{Source: realDir(t), Target: "/mnt"}
			if err := d.Attach(ctx, vmid, other); err != nil {
				t.Error(err)
			}
			wantCalls(t, n, "attach", seen, 1, 0)
			wantClass(t, d.Detach(ctx, vmid, other.Target), driver.ErrPending)
			wantCalls(t, n, "detach", seen, 1, 0)
			if err := errors.Join(d.Shutdown(ctx, vmid, 0), d.Destroy(ctx, vmid)); err != nil {
				t.Error(err)
			}
			wantCalls(t, n, "remove", seen, 2, 0)
		})
	}
}

// Without one of the files, or with one that is not understood, PVE is asked.
func TestFilesThatAreMissing(t *testing.T) {
	cases := map[string]func(*pcttest.Node){}
	for _, name := range pcttest.Files {
		cases[name+" is missing"] = func(n *pcttest.Node) { n.Remove(name) }
		for i, text := range []string{"", "\x00\n", "{}\n", "UPID:pve:1 x\n", "Num\n", "dir: local\ndir: data\nx\n"} {
			if name == pcttest.TaskFile && text == "" {
				continue // no task at work
			}
			cases[fmt.Sprintf("%s is wrong %d", name, i)] = func(n *pcttest.Node) { n.Replace(name, text) }
		}
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			n, d := newDriver(t)
			dirStorage(t, n)
			change(n)
			s := spec()
			s.Storage = "data"
			provisioned(t, d, s, driver.Mount{Source: realDir(t), Target: "/etc/felhom-bootstrap"})
			wantClass(t, d.Destroy(t.Context(), vmid), driver.ErrRunning)
			n.SetConfig(8201, "lock: create\n")
			n.SetTasks(pcttest.Task{PID: 1, Type: "vzrestore", ID: "8201", Status: "RUNNING"})
			wantClass(t, d.Discard(t.Context(), 8201, ""), driver.ErrBusy)
			n.SetElsewhere(8202, "pve2", "qemu")
			wantClass(t, d.Check(t.Context(), 8202, s), driver.ErrExists, "a VM (qemu) of node pve2")
			if len(n.Started("pvesh"))+len(n.Started("pvesm")) == 0 {
				t.Error("PVE was not asked")
			}
		})
	}
	t.Run("the cluster file system", func(t *testing.T) {
		n, _ := newDriver(t)
		o := options(n)
		o.PVEDir = t.TempDir()
		if err := os.Mkdir(filepath.Join(o.PVEDir, "local"), 0o755); err != nil {
			t.Fatal(err)
		}
		provisioned(t, open(t, o), spec(), driver.Mount{Source: realDir(t), Target: "/etc/felhom-bootstrap"})
	})
}

// TestReportsThatAreMissing: pvesm is asked for what the node's report does not
// say, or said too long ago, and its word counts.
func TestReportsThatAreMissing(t *testing.T) {
	report := func(key string, age time.Duration, total, used int64) string {
		return fmt.Sprintf("%s:%d:%d:%d\n", key, time.Now().Add(-age).Unix(), total, used)
	}
	const own = "pve-storage-9.0/pve/local-lvm"
	cases := []struct {
		name, text string
		pvesm      int
	}{
		{"of PVE 8", report("pve2-storage/pve/local-lvm", 0, 1<<40, 0), 0},
		{"beside others", report("pve2-storage/pve2/local-lvm", 0, 1, 1) + report("pve2-storage/pve/local", 0, 1, 1) + report(own, 0, 1<<40, 0), 0},
		{"none", "", 1},
		{"of another node", report("pve-storage-9.0/pve2/local-lvm", 0, 1<<40, 0), 1},
		{"of another storage", report("pve-storage-9.0/pve/local-lvm2", 0, 1<<40, 0), 1},
		{"of a guest", report("pve-vm-9.0/pve/local-lvm", 0, 1<<40, 0), 1},
		{"old", report(own, 3*time.Minute, 1<<40, 0), 1},
		{"of the future", report(own, -3*time.Minute, 1<<40, 0), 1},
		{"nothing known", own + ":U:U:U\n", 1},
		{"more used than there is", report(own, 0, 1<<40, 1<<41), 1},
		{"no size", report(own, 0, 0, 0), 1},
		{"cut", own + ":" + fmt.Sprint(time.Now().Unix()) + ":12", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n, d := newDriver(t)
			n.Replace(pcttest.Reports, c.text)
			if err := d.Check(t.Context(), vmid, spec()); err != nil {
				t.Error(err)
			}
			wantCalls(t, n, "check", map[string]int{}, 0, c.pvesm)
		})
	}
	for name, st := range map[string]pcttest.Storage{
		"full": {Content: "rootdir", Avail: 1}, "disabled": {Content: "rootdir", Avail: 1 << 40, Disabled: true}, "inactive": {Content: "rootdir", Avail: 1 << 40, Inactive: true},
		"no rootdir": {Content: "images", Avail: 1 << 40},
	} {
		t.Run(name, func(t *testing.T) {
			n, d := newDriver(t)
			n.SetStorage("local-lvm", st)
			if name == "disabled" { // a report from before it was disabled
				n.Replace(pcttest.Reports, report(own, 0, 1<<40, 0))
			}
			class := driver.ErrNoStorage
			if name == "full" {
				class = driver.ErrNoSpace
			}
			wantClass(t, d.Check(t.Context(), vmid, spec()), class)
		})
	}
}

// The kernel's list of sockets is the whole host's.
func TestSocketsOfOthers(t *testing.T) {
	n, d := newDriver(t)
	n.SetConfig(vmid, guestConfig)
	for _, c := range []struct {
		path string
		want driver.State
	}{
		{"@" + n.Dir("var/lib/lxc/82000/command"), driver.Stopped},
		{"@" + n.Dir("var/lib/lxc/8200/command/x"), driver.Stopped},
		{n.Dir("var/lib/lxc/8200/command"), driver.Stopped},
		{"@/srv" + n.Dir("var/lib/lxc/8200/command"), driver.Stopped},
		{"@" + n.Dir("var/lib/lxc/8200/command"), driver.Running},
	} {
		n.Replace(pcttest.UnixSockets, "Num       RefCount Protocol Flags    Type St Inode Path\n"+
			"0000000000000000: 00000003 00000000 00000000 0001 03 23456\n0000000000000000: 00000002 00000000 00010000 0001 01 23457 "+c.path+"\n")
		if st, err := d.Status(t.Context(), vmid); err != nil || st.State != c.want {
			t.Errorf("%s: %v, %v", c.path, st.State, err)
		}
	}
	if calls := n.Started("pvesh"); len(calls) > 0 {
		t.Errorf("asked %q", calls)
	}
}
