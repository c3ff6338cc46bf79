package pct_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
	"github.com/felhom/felhom-golden/internal/fault"
)

// guestConfig is a stopped guest of the node.
const guestConfig = `arch: amd64
features: nesting=1
hostname: g
memory: 512
net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:77,ip=dhcp,type=veth
ostype: debian
rootfs: local-lvm:vm-8200-disk-0,size=4G
unprivileged: 1
`

const vmid = 8200

func wantClass(t *testing.T, err, sentinel error, words ...string) {
	t.Helper()
	if !errors.Is(err, sentinel) {
		t.Errorf("error %v, want %q", err, sentinel)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// pct's exit status is 0 in some failures and anything in others.
func TestStartTraps(t *testing.T) {
	cases := []struct {
		name   string
		faults pcttest.Faults
		config string
		want   error // nil: it runs
		words  string
	}{
		{"fails", pcttest.Faults{StartFails: true}, guestConfig, driver.ErrStart, "startup for container '8200' failed"},
		{"succeeds without an effect", pcttest.Faults{StartDies: true}, guestConfig, driver.ErrStart, "PVE reported success"},
		{"by HA some time later", pcttest.Faults{HA: []int{vmid}, HAPolls: 3}, guestConfig, nil, ""},
		{"with a warning", pcttest.Faults{}, strings.Replace(guestConfig, "nesting=1", "keyctl=1", 1), nil, ""},
		{"of a template", pcttest.Faults{}, guestConfig + "template: 1\n", driver.ErrProtected, "template"},
		{"while locked", pcttest.Faults{}, guestConfig + "lock: backup\n", driver.ErrBusy, "CT is locked (backup)"},
		{"with a source that is gone", pcttest.Faults{}, guestConfig + "mp0: /nonexistent/felhom,mp=/mnt\n", driver.ErrStart, "/nonexistent"},
		{"without the bridge", pcttest.Faults{}, strings.Replace(guestConfig, "vmbr0", "vmbr9", 1), driver.ErrNoBridge, "bridge 'vmbr9' does not exist"},
		{"without quorum", pcttest.Faults{NoQuorum: true}, guestConfig, driver.ErrNotReady, "cluster not ready - no quorum?"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n, d := newDriver(t)
			n.SetConfig(vmid, c.config)
			n.SetFaults(c.faults)
			err := d.Start(t.Context(), vmid)
			if c.want != nil {
				wantClass(t, err, c.want, "8200", c.words)
				return
			}
			g, guestErr := d.Guest(t.Context(), vmid)
			if err != nil || guestErr != nil || g.State != driver.Running {
				t.Errorf("start %v, then %+v, %v", err, g, guestErr)
			}
		})
	}
}

func TestShutdownAndDestroyTraps(t *testing.T) {
	n, d := newDriver(t)
	n.SetConfig(vmid, guestConfig)
	n.SetFaults(pcttest.Faults{HA: []int{vmid}, HAPolls: 2, Stubborn: true})
	if err := d.Start(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	if err := d.Shutdown(t.Context(), vmid, 1500*time.Millisecond); err != nil {
		t.Errorf("shutdown by HA: %v", err)
	}
	if calls := strings.Join(n.Calls(), "\n"); !strings.Contains(calls, "shutdown 8200 --timeout 2 --forceStop 1") {
		t.Errorf("calls\n%s", calls)
	}
	wantClass(t, d.Destroy(t.Context(), vmid), driver.ErrProtected, "used in HA resources")
	n.SetFaults(pcttest.Faults{Replicated: []int{vmid}})
	wantClass(t, d.Destroy(t.Context(), vmid), driver.ErrProtected, "replication job")
	n.SetFaults(pcttest.Faults{Stubborn: true})
	if err := errors.Join(d.Start(t.Context(), vmid), d.Shutdown(t.Context(), vmid, time.Second)); err != nil {
		t.Errorf("a stubborn guest: %v", err)
	}
	n.SetConfig(vmid, guestConfig+"protection: 1\n")
	wantClass(t, d.Destroy(t.Context(), vmid), driver.ErrProtected, "protection mode enabled")
	if g, err := d.Guest(t.Context(), vmid); err != nil || g.State != driver.Stopped {
		t.Errorf("guest %+v, %v", g, err)
	}
}

// "pct set" saves first and fails then, or says nothing and does nothing.
func TestAttachTraps(t *testing.T) {
	m := func(t *testing.T) driver.Mount {
		t.Helper()
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return driver.Mount{Source: dir, Target: "/etc/felhom-bootstrap", ReadOnly: true, Shared: true}
	}
	t.Run("failed after it saved", func(t *testing.T) {
		n, d := newDriver(t)
		n.SetConfig(vmid, strings.Replace(guestConfig, "vmbr0", "vmbr9", 1))
		mount := m(t)
		if err := d.Attach(t.Context(), vmid, mount); err != nil {
			t.Errorf("the mount is there, and the error is %v", err)
		}
		if want := "mp0: " + mount.Source + ",mp=/etc/felhom-bootstrap,replicate=0,ro=1,shared=1\n"; !strings.Contains(n.Config(vmid), want) {
			t.Errorf("no %q in\n%s", want, n.Config(vmid))
		}
		if !strings.Contains(n.Config(vmid), "BC:24:11:00:00:77") {
			t.Error("the MAC was drawn again")
		}
	})
	t.Run("without an effect", func(t *testing.T) {
		n, d := newDriver(t)
		n.SetConfig(vmid, guestConfig)
		n.SetFaults(pcttest.Faults{SetForgets: true})
		if err := d.Attach(t.Context(), vmid, m(t)); err == nil || !strings.Contains(err.Error(), "pct set said nothing") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("slot is taken by a volume", func(t *testing.T) {
		n, d := newDriver(t)
		n.SetConfig(vmid, guestConfig+"mp0: local-lvm:vm-8200-disk-1,mp=/srv,size=1G\n")
		if err := d.Attach(t.Context(), vmid, m(t)); err != nil {
			t.Fatal(err)
		}
		if config := n.Config(vmid); !strings.Contains(config, "mp1: /") || !strings.Contains(config, "mp0: local-lvm:") {
			t.Errorf("config\n%s", config)
		}
		over := m(t)
		over.Target = "/srv"
		wantClass(t, d.Attach(t.Context(), vmid, over), driver.ErrRefused, "mp0 is the volume")
		wantClass(t, d.Detach(t.Context(), vmid, "/srv"), driver.ErrRefused, "not a directory")
	})
	t.Run("started meanwhile", func(t *testing.T) {
		n, d := newDriver(t)
		first, second := m(t), m(t)
		n.SetConfig(vmid, guestConfig)
		if err := d.Attach(t.Context(), vmid, first); err != nil {
			t.Fatal(err)
		}
		n.SetFaults(pcttest.Faults{RaceStart: vmid})
		wantClass(t, d.Attach(t.Context(), vmid, second), driver.ErrPending)
		if config := n.Config(vmid); strings.Contains(config, "pending") || !strings.Contains(config, first.Source) {
			t.Errorf("the pending change is left:\n%s", config)
		}
	})
	t.Run("detached while running and attached again", func(t *testing.T) {
		n, d := newDriver(t)
		mount := m(t)
		n.SetConfig(vmid, guestConfig)
		if err := errors.Join(d.Attach(t.Context(), vmid, mount), d.Start(t.Context(), vmid)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			wantClass(t, d.Detach(t.Context(), vmid, mount.Target), driver.ErrPending, "8200")
		}
		if err := d.Attach(t.Context(), vmid, mount); err != nil || strings.Contains(n.Config(vmid), "pending") {
			t.Errorf("attach again: %v\n%s", err, n.Config(vmid))
		}
	})
	t.Run("shared by the operator", func(t *testing.T) {
		n, d := newDriver(t)
		mount := m(t)
		n.SetConfig(vmid, guestConfig+"mp0: "+mount.Source+",mp=/etc/felhom-bootstrap,ro=1,shared=1\n")
		mount.Shared = false
		if err := errors.Join(d.Start(t.Context(), vmid), d.Attach(t.Context(), vmid, mount)); err != nil || !strings.Contains(n.Config(vmid), "shared=1") {
			t.Errorf("%v\n%s", err, n.Config(vmid))
		}
	})
	t.Run("locked", func(t *testing.T) {
		n, d := newDriver(t)
		n.SetConfig(vmid, guestConfig+"lock: snapshot\n")
		err := d.Attach(t.Context(), vmid, m(t))
		wantClass(t, err, driver.ErrBusy, "snapshot")
		if fault.Of(err) != fault.Busy || fault.HintOf(err) == "" {
			t.Errorf("class %s, hint %q", fault.Of(err), fault.HintOf(err))
		}
	})
}

func TestRestoreTraps(t *testing.T) {
	left := func(t *testing.T, n *pcttest.Node, d *pct.Driver) {
		t.Helper()
		if g, err := d.Guest(t.Context(), vmid); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("left %+v, %v", g, err)
		}
		for _, call := range n.Calls() {
			for _, word := range []string{"--force", "--start", "--mp", "hwaddr"} {
				if strings.Contains(call, word) {
					t.Errorf("%s in %s", word, call)
				}
			}
		}
	}
	t.Run("no space", func(t *testing.T) {
		n, d := newDriver(t)
		n.SetFaults(pcttest.Faults{DiskFull: true})
		wantClass(t, d.Restore(t.Context(), vmid, spec(), nil), driver.ErrNoSpace, "No space left on device")
		left(t, n, d)
	})
	t.Run("success and no guest", func(t *testing.T) {
		n, d := newDriver(t)
		n.SetFaults(pcttest.Faults{LoseRestore: true})
		if err := d.Restore(t.Context(), vmid, spec(), nil); err == nil || !strings.Contains(err.Error(), "there is no guest") {
			t.Errorf("error %v", err)
		}
		left(t, n, d)
	})
	for name, keep := range map[string]bool{"interrupted": false, "interrupted, and PVE left a part": true} {
		t.Run(name, func(t *testing.T) {
			n, d := newDriver(t)
			touch := filepath.Join(t.TempDir(), "paused")
			n.SetFaults(pcttest.Faults{PauseRestore: true, KeepPartial: keep, Touch: touch})
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() { result <- d.Restore(ctx, vmid, spec(), nil) }()
			for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
				if _, err := os.Stat(touch); err == nil {
					tick.Stop()
					break
				}
			}
			g, err := d.Guest(t.Context(), vmid)
			if err != nil || g.Lock != "create" {
				t.Errorf("while it works: %+v, %v", g, err)
			}
			cancel()
			wantClass(t, <-result, context.Canceled)
			left(t, n, d)
		})
	}
	t.Run("archive's own interface", func(t *testing.T) {
		n, d := newDriver(t)
		s := spec()
		s.Net = driver.Net{}
		s.Storage, s.RootfsGiB = "", 0
		n.SetStorage("other", pcttest.Storage{Type: "dir", Content: "rootdir", Avail: 1 << 40})
		if err := d.Restore(t.Context(), vmid, s, nil); err != nil {
			t.Fatal(err)
		}
		g, err := d.Guest(t.Context(), vmid)
		if err != nil || g.Net.Bridge != "vmbr0" || g.Net.MAC == "BC:24:11:AA:AA:AA" || g.Net.MAC == "" || g.Hostname != "golden" || g.Description != "Golden image: 100%" {
			t.Errorf("guest %+v, %v", g, err)
		}
		if config := n.Config(vmid); !strings.Contains(config, "rootfs: other:8200/vm-8200-disk-0.raw,size=4G") || !strings.Contains(config, "firewall=1") {
			t.Errorf("config\n%s", config)
		}
	})
	t.Run("volume of a guest that is gone", func(t *testing.T) {
		n, d := newDriver(t)
		n.SetStorage("local-lvm", pcttest.Storage{Type: "lvmthin", Content: "rootdir", Avail: 1 << 40, Volumes: []string{"vm-8200-disk-7"}})
		wantClass(t, d.Restore(t.Context(), vmid, spec(), nil), driver.ErrExists, "vm-8200-disk-7")
	})
}

// A partial guest is not touched while a task lives, whatever its lock says.
func TestDiscardTraps(t *testing.T) {
	n, d := newDriver(t)
	n.MakePartial(vmid)
	n.SetTasks(pcttest.Task{PID: 1, Type: "vzrestore", ID: "8200", Status: "RUNNING"})
	wantClass(t, d.Discard(t.Context(), vmid, ""), driver.ErrBusy)
	if g, err := d.Guest(t.Context(), vmid); err != nil || g.Partial || g.Lock != "create" {
		t.Errorf("guest %+v, %v: a living task's is not partial", g, err)
	}
	n.SetTasks(pcttest.Task{PID: 1, Type: "vzrestore", ID: "8200", Status: "interrupted by signal"}, pcttest.Task{Type: "vzstart", ID: "8201", Status: "RUNNING"})
	if err := d.Discard(t.Context(), vmid, ""); err != nil {
		t.Error(err)
	}
	// Killed between unlock and destroy: no lock, and no root file system.
	n.SetConfig(vmid, "unprivileged: 1\n")
	if g, err := d.Guest(t.Context(), vmid); err != nil || !g.Partial {
		t.Errorf("guest %+v, %v", g, err)
	}
	if err := d.Discard(t.Context(), vmid, ""); err != nil {
		t.Error(err)
	}
}

func TestCheckFinds(t *testing.T) {
	cases := []struct {
		name   string
		change func(*pcttest.Node, *driver.Spec)
		want   error
		words  string
	}{
		{"old pve-container 8", func(n *pcttest.Node, _ *driver.Spec) { n.SetPackage("pve-container", "5.3.0") }, driver.ErrNotReady, "5.3.1"},
		{"old pve-container 9", func(n *pcttest.Node, _ *driver.Spec) { n.SetPackage("pve-container", "6.0.9") }, driver.ErrNotReady, "6.0.10"},
		{"old lxc-pve", func(n *pcttest.Node, _ *driver.Spec) { n.SetPackage("lxc-pve", "6.0.5-1") }, driver.ErrNotReady, "runc"},
		{"no PVE", func(n *pcttest.Node, _ *driver.Spec) { n.SetPackage("pve-container", "") }, driver.ErrNotReady, "not installed"},
		{"unknown storage", func(_ *pcttest.Node, s *driver.Spec) { s.Storage = "nowhere" }, driver.ErrNoStorage, "storage: No such storage."},
		{"storage for backups", func(_ *pcttest.Node, s *driver.Spec) { s.Storage = "local" }, driver.ErrNoStorage, "rootdir"},
		{"disabled storage", func(n *pcttest.Node, _ *driver.Spec) {
			n.SetStorage("local-lvm", pcttest.Storage{Content: "rootdir", Disabled: true})
		}, driver.ErrNoStorage, "disabled"},
		{"inactive storage", func(n *pcttest.Node, _ *driver.Spec) {
			n.SetStorage("local-lvm", pcttest.Storage{Content: "rootdir", Inactive: true})
		}, driver.ErrNoStorage, "not active"},
		{"full storage", func(n *pcttest.Node, s *driver.Spec) {
			n.SetStorage("local-lvm", pcttest.Storage{Type: "lvm", Content: "rootdir", Avail: 3 << 30})
		}, driver.ErrNoSpace, "3072 MiB free, want 4096"},
		{"missing volume", func(_ *pcttest.Node, s *driver.Spec) { s.Archive = "local:backup/vzdump-lxc-1.tar.zst" }, driver.ErrArchive, "no such file"},
		{"unknown storage of the archive", func(_ *pcttest.Node, s *driver.Spec) { s.Archive = "nowhere:backup/x.tar.zst" }, driver.ErrArchive, "no storage nowhere"},
		{"template for an archive", func(_ *pcttest.Node, s *driver.Spec) { s.Archive = "local:vztmpl/x.tar.zst" }, driver.ErrArchive, "not a backup"},
		{"tgz", func(n *pcttest.Node, s *driver.Spec) { s.Archive = bare(t, n, "vzdump-lxc-1.tgz") }, driver.ErrArchive, ".tar.zst"},
		{"packed otherwise than its name says", func(n *pcttest.Node, s *driver.Spec) { s.Archive = archive(t, n, "vzdump-lxc-1.tar", goldenConfig, 0) }, driver.ErrArchive, "the end of its name says none"},
		{"packed with zstd and called gz", func(n *pcttest.Node, s *driver.Spec) {
			s.Archive = archive(t, n, "vzdump-lxc-1.tar.gz", goldenConfig, 0)
		}, driver.ErrArchive, "says gzip"},
		{"privileged", config(t, "unprivileged: 1", "unprivileged: 0"), driver.ErrArchive, "privileged"},
		{"without nesting", config(t, "nesting=1", "nesting=0"), driver.ErrArchive, "nesting=1"},
		{"other architecture", config(t, "arch: ARCH", "arch: riscv32"), driver.ErrArchive, "riscv32"},
		{"wrong pct.conf", config(t, "memory: 1024", "memory: lots"), driver.ErrArchive, "memory"},
		{"second interface", config(t, "memory: 1024", "net1: name=eth1,bridge=vmbr0"), driver.ErrArchive, "net1"},
		{"no quorum", func(n *pcttest.Node, _ *driver.Spec) {
			if err := os.Chmod(n.Dir("etc/pve/local"), 0o440); err != nil {
				t.Fatal(err)
			}
		}, driver.ErrNotReady, "no quorum"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n, d := newDriver(t)
			s := spec()
			c.change(n, &s)
			err := d.Check(t.Context(), vmid, s)
			wantClass(t, err, c.want, c.words)
			if fault.HintOf(errorOf(err, c.want)) == "" {
				t.Errorf("no hint with %v", err)
			}
			if len(n.Calls()) > 0 {
				t.Errorf("a check called %v", n.Calls())
			}
		})
	}
	t.Run("pve 8 and every pve after 9", func(t *testing.T) {
		n, d := newDriver(t)
		for _, versions := range [][2]string{{"5.3.3", "6.0.0-1"}, {"6.0.10", "6.0.5-2"}, {"7.0.0", "7.0.0-1"}} {
			n.SetPackage("pve-container", versions[0])
			n.SetPackage("lxc-pve", versions[1])
			if err := d.Check(t.Context(), vmid, spec()); err != nil {
				t.Errorf("%v: %v", versions, err)
			}
		}
	})
}

// errorOf is the part of a joined error that is of a class.
func errorOf(err, class error) error {
	var joined interface{ Unwrap() []error }
	if fault.HintOf(err) == "" && errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			if errors.Is(e, class) {
				return errorOf(e, class)
			}
		}
	}
	return err
}

// config makes the golden image's pct.conf another one.
func config(t *testing.T, old, replacement string) func(*pcttest.Node, *driver.Spec) {
	return func(n *pcttest.Node, _ *driver.Spec) {
		text := strings.ReplaceAll(goldenConfig, old, replacement)
		archive(t, n, golden, text, 0)
	}
}
