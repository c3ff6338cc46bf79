package pct_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
)

const (
	templateID = 9900
	ofTemplate = "Do not touch: 100%\nfelhom-agentd: template X"
)

// withTemplate returns a node with a finished template on the storage "fast" of that
// type.
func withTemplate(t *testing.T, kind string) (*pcttest.Node, *pct.Driver, driver.Template) {
	t.Helper()
	n, d := newDriver(t)
	n.SetStorage("fast", pcttest.Storage{Type: kind, Content: "rootdir,images", Avail: 1 << 40})
	s := fast(ofTemplate)
	s.Hostname = "felhom-template"
	if err := errors.Join(d.Restore(t.Context(), templateID, s, nil), d.FinishTemplate(t.Context(), templateID, ofTemplate)); err != nil {
		t.Fatal(err)
	}
	return n, d, driver.Template{VMID: templateID, Description: ofTemplate, Storage: "fast"}
}

func fast(description string) driver.Spec {
	s := spec()
	s.Storage, s.Description = "fast", description
	return s
}

// lines are those of a configuration, without those that differ between any two
// guests. "pct set" writes tags in lower case and sorted, a restore as they are.
func lines(config string) []string {
	config = strings.Replace(config, "tags: Golden;felhom\n", "tags: felhom;golden\n", 1)
	return slices.DeleteFunc(strings.Split(config, "\n"), func(l string) bool {
		return strings.HasPrefix(l, "rootfs: ") || strings.HasPrefix(l, "net0: ")
	})
}

// A clone has each line that a restored guest has, and no other, whatever its
// template has.
func TestCloneIsAsRestored(t *testing.T) {
	swap, onBoot := 128, true
	for name, change := range map[string]func(*driver.Spec){
		"the archive's settings": func(*driver.Spec) {},
		"every setting": func(s *driver.Spec) {
			s.Hostname, s.Cores, s.MemoryMiB, s.SwapMiB, s.OnBoot, s.Nameserver, s.RootfsGiB = "web", 2, 2048, &swap, &onBoot, "192.0.2.1", 9
		},
		"the archive's interface": func(s *driver.Spec) { s.Net = driver.Net{} },
	} {
		t.Run(name, func(t *testing.T) {
			n, d, of := withTemplate(t, "zfspool")
			// What an operator does to a template, its clones do not get.
			n.SetConfig(templateID, n.Config(templateID)+"cores: 8\nnameserver: 203.0.113.7\nonboot: 1\nstartup: order=1\ntimezone: host\n")
			s := fast("a guest")
			change(&s)
			if err := errors.Join(d.Clone(t.Context(), of, 8200, s, nil), d.Restore(t.Context(), 8201, s, nil)); err != nil {
				t.Fatal(err)
			}
			clone, restored := n.Config(8200), n.Config(8201)
			if got, want := lines(clone), lines(restored); !slices.Equal(got, want) {
				t.Errorf("a clone has\n%s\na restored guest\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			size := map[bool]string{true: "size=9G", false: "size=4G"}[s.RootfsGiB == 9]
			if !strings.Contains(clone, "rootfs: fast:basevol-9900-disk-0/subvol-8200-disk-0,"+size+"\n") {
				t.Errorf("clone\n%s", clone)
			}
			macs := map[string]int{}
			for _, vmid := range []int{8200, 8201, templateID} {
				nics, err := d.Interfaces(t.Context(), vmid)
				if err != nil || len(nics) != 1 {
					t.Fatalf("interfaces %v, %v", nics, err)
				}
				macs[nics[0].MAC]++
			}
			if len(macs) != 3 {
				t.Errorf("MACs %v, want three", macs)
			}
			for _, word := range []string{"protection", driver.TemplateTag, "felhom-agentd: template", "203.0.113.7"} {
				if strings.Contains(clone, word) {
					t.Errorf("%q in the clone's\n%s", word, clone)
				}
			}
		})
	}
}

// PVE detects what an archive does not say of its system, and no guest starts without
// it: a clone keeps what its template got.
func TestCloneOfDetectedSystem(t *testing.T) {
	n, d := newDriver(t)
	n.SetStorage("fast", pcttest.Storage{Type: "zfspool", Content: "rootdir,images", Avail: 1 << 40})
	archive(t, n, golden, strings.Replace(strings.Replace(goldenConfig, "ostype: debian\n", "", 1), "arch: ARCH\n", "", 1), 0)
	err := d.Restore(t.Context(), templateID, fast(ofTemplate), nil)
	detected := []string{"arch: " + runtime.GOARCH, "ostype: debian"}
	for _, line := range detected {
		if strings.Contains(n.Config(templateID), line) {
			t.Fatalf("the archive says %q", line)
		}
		n.SetConfig(templateID, n.Config(templateID)+line+"\n")
	}
	of := driver.Template{VMID: templateID, Description: ofTemplate, Storage: "fast"}
	if err := errors.Join(err, d.FinishTemplate(t.Context(), templateID, ofTemplate), d.Clone(t.Context(), of, vmid, fast("a guest"), nil)); err != nil {
		t.Fatal(err)
	}
	for _, line := range detected {
		if !strings.Contains(n.Config(vmid), line+"\n") {
			t.Errorf("no %q in the clone's\n%s", line, n.Config(vmid))
		}
	}
}

func TestCloneTraps(t *testing.T) {
	set := func(lines string) func(*testing.T, *pcttest.Node) {
		return func(_ *testing.T, n *pcttest.Node) { n.SetConfig(templateID, n.Config(templateID)+lines) }
	}
	without := func(line string) func(*testing.T, *pcttest.Node) {
		return func(_ *testing.T, n *pcttest.Node) {
			n.SetConfig(templateID, strings.Replace(n.Config(templateID), line+"\n", "", 1))
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(*testing.T, *pcttest.Node)
		want    error
		words   string
	}{
		{"key that cannot be set", func(_ *testing.T, n *pcttest.Node) {
			n.SetConfig(templateID, strings.Replace(n.Config(templateID), "ostype: debian", "ostype: ubuntu", 1))
		}, driver.ErrNoClone, "ostype"},
		{"lxc lines", set("lxc.cap.drop: sys_admin\n"), driver.ErrNoClone, "lxc"},
		{"id map of the host", set("lxc.idmap: u 0 0 65536\nlxc.idmap: g 0 0 65536\n"), driver.ErrNoClone, "lxc"},
		{"privileged", func(_ *testing.T, n *pcttest.Node) {
			n.SetConfig(templateID, strings.Replace(n.Config(templateID), "unprivileged: 1", "unprivileged: 0", 1))
		}, driver.ErrNoClone, "unprivileged"},
		{"mount point", set("mp0: /srv,mp=/mnt\n"), driver.ErrNoClone, "mount points"},
		{"firewall rules", func(t *testing.T, n *pcttest.Node) {
			t.Helper()
			if err := os.WriteFile(n.Dir("etc/pve/firewall/9900.fw"), []byte("[RULES]\nIN ACCEPT\n"), 0o640); err != nil {
				t.Fatal(err)
			}
		}, driver.ErrNoClone, "firewall rules"},
		{"no protection", without("protection: 1"), driver.ErrNoClone, "not a finished template"},
		{"no tag", without("tags: felhom-template"), driver.ErrNoClone, "not a finished template"},
		{"not a template", without("template: 1"), driver.ErrNoClone, "not a finished template"},
		{"another description", func(_ *testing.T, n *pcttest.Node) { n.SetConfig(templateID, "#x\n"+n.Config(templateID)) }, driver.ErrNoClone, "description"},
		{"base disk is gone", func(_ *testing.T, n *pcttest.Node) {
			n.SetStorage("fast", pcttest.Storage{Type: "zfspool", Content: "rootdir", Avail: 1 << 40})
		}, nil, "clone failed"},
		{"backup at work", func(_ *testing.T, n *pcttest.Node) {
			n.SetConfig(templateID, n.Config(templateID)+"lock: backup\n")
		}, driver.ErrBusy, "locked (backup)"},
		{"clone of another at work", func(_ *testing.T, n *pcttest.Node) {
			n.SetConfig(templateID, n.Config(templateID)+"lock: disk\n")
			n.SetTasks(pcttest.Task{PID: 7, Type: "vzclone", ID: "9900", Status: "RUNNING"})
		}, driver.ErrBusy, "locked (disk)"},
		{"set without an effect", func(_ *testing.T, n *pcttest.Node) { n.SetFaults(pcttest.Faults{SetForgets: true}) }, nil, "pct set did not make the clone what was asked for"},
		{"set while another command has the guest", func(_ *testing.T, n *pcttest.Node) { n.SetFaults(pcttest.Faults{SetBusy: true}) }, driver.ErrBusy, "got timeout"},
		{"success and no guest", func(_ *testing.T, n *pcttest.Node) { n.SetFaults(pcttest.Faults{CloneForgets: true}) }, driver.ErrNotFound, ""},
		{"no quorum", func(_ *testing.T, n *pcttest.Node) { n.SetFaults(pcttest.Faults{NoQuorum: true}) }, driver.ErrNotReady, "no quorum"},
		{"leftover disk", func(_ *testing.T, n *pcttest.Node) {
			n.SetStorage("fast", pcttest.Storage{Type: "zfspool", Content: "rootdir", Avail: 1 << 40, Volumes: []string{"basevol-9900-disk-0", "subvol-8200-disk-3"}})
		}, driver.ErrExists, "subvol-8200-disk-3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, d, of := withTemplate(t, "zfspool")
			c.prepare(t, n)
			volumes := n.Volumes("fast")
			err := d.Clone(t.Context(), of, vmid, fast("a guest"), nil)
			if c.want == nil && (err == nil || !strings.Contains(err.Error(), c.words)) {
				t.Errorf("error %v, want %q", err, c.words)
			} else if c.want != nil {
				wantClass(t, err, c.want, c.words)
			}
			if errors.Is(err, driver.ErrNoClone) && errors.Is(err, driver.ErrExists) { // a restore is possible then
				t.Errorf("error %v is of two classes", err)
			}
			if c.name == "set without an effect" { // nor can it be removed so
				return
			}
			if g, err := d.Guest(t.Context(), vmid); !errors.Is(err, driver.ErrNotFound) || n.HasRules(vmid) {
				t.Errorf("left is %+v, %v, rules %v", g, err, n.HasRules(vmid))
			}
			if got := n.Volumes("fast"); !slices.Equal(got, volumes) {
				t.Errorf("volumes %v, want %v", got, volumes)
			}
		})
	}
	t.Run("smaller than its template", func(t *testing.T) {
		_, d, of := withTemplate(t, "lvmthin")
		s := fast("a guest")
		s.RootfsGiB = 2
		wantClass(t, d.Clone(t.Context(), of, vmid, s, nil), driver.ErrNoClone, "smaller")
		wantClass(t, d.CanClone(t.Context(), s), driver.ErrNoClone, "smaller")
	})
	t.Run("rules of an operator stay", func(t *testing.T) {
		n, d, of := withTemplate(t, "rbd")
		file := n.Dir("etc/pve/firewall/8200.fw")
		if err := os.WriteFile(file, []byte("[OPTIONS]\nenable: 1\n"), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := d.Clone(t.Context(), of, vmid, fast("a guest"), nil); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(file); err != nil || string(data) != "[OPTIONS]\nenable: 1\n" {
			t.Errorf("rules %q, %v", data, err)
		}
	})
}

// What a clone leaves that was killed with its worker: a guest that is locked and
// protected, perhaps a disk that it does not name, and the lock of its template.
func TestDiscardOfKilledClone(t *testing.T) {
	for _, kind := range cloningTypes {
		for _, at := range []string{"config", "disk"} {
			t.Run(kind+" at "+at, func(t *testing.T) {
				n, d, of := withTemplate(t, kind)
				volumes := n.Volumes("fast")
				n.KillClone(templateID, vmid, "a guest", at)
				if config := n.Config(vmid); !strings.Contains(config, "lock: create") || !strings.Contains(config, "protection: 1") || !strings.Contains(n.Config(templateID), "lock: disk") {
					t.Fatalf("left is\n%s", config)
				}
				n.SetTasks(pcttest.Task{PID: 7, Type: "vzclone", ID: "9900", Status: "RUNNING"})
				wantClass(t, d.DiscardClone(t.Context(), vmid, "a guest", "fast"), driver.ErrBusy, "vzclone")
				n.SetTasks()
				wantClass(t, d.DiscardClone(t.Context(), vmid, "another guest", "fast"), driver.ErrExists)
				wantClass(t, d.Discard(t.Context(), vmid, "fast"), driver.ErrProtected) // as of any guest that is protected
				if err := d.DiscardClone(t.Context(), vmid, "a guest", "fast"); err != nil {
					t.Fatal(err)
				}
				if got := n.Volumes("fast"); !slices.Equal(got, volumes) || len(n.Mounted()) > 0 {
					t.Errorf("volumes %v, want %v; mounts %v", got, volumes, n.Mounted())
				}
				if err := d.Clone(t.Context(), of, vmid, fast("a guest"), nil); err != nil {
					t.Error(err)
				}
				if strings.Contains(n.Config(templateID), "lock") {
					t.Errorf("the template is still locked:\n%s", n.Config(templateID))
				}
			})
		}
	}
	t.Run("before its settings", func(t *testing.T) {
		n, d, of := withTemplate(t, "zfspool")
		if err := d.Clone(t.Context(), of, vmid, fast("a guest"), nil); err != nil {
			t.Fatal(err)
		}
		n.SetConfig(vmid, n.Config(vmid)+"protection: 1\n")
		wantClass(t, d.DiscardClone(t.Context(), vmid, "another guest", "fast"), driver.ErrExists)
		if err := d.DiscardClone(t.Context(), vmid, "a guest", "fast"); err != nil || len(n.Volumes("fast")) != 1 {
			t.Errorf("%v, volumes %v", err, n.Volumes("fast"))
		}
	})
}

// A conversion that was killed at any point is finished or removed, with its disks.
func TestKilledTemplate(t *testing.T) {
	for _, kind := range cloningTypes {
		for _, ends := range []string{"disk", "config"} {
			t.Run(kind+" "+ends, func(t *testing.T) {
				n, d := newDriver(t)
				n.SetStorage("fast", pcttest.Storage{Type: kind, Content: "rootdir,images", Avail: 1 << 40})
				if err := d.Restore(t.Context(), templateID, fast(ofTemplate), nil); err != nil {
					t.Fatal(err)
				}
				n.SetFaults(pcttest.Faults{TemplateEnds: ends})
				if err := d.FinishTemplate(t.Context(), templateID, ofTemplate); err == nil {
					t.Fatal("no error")
				}
				for range 2 {
					wantClass(t, d.FinishTemplate(t.Context(), templateID, ofTemplate), driver.ErrPartial, "interrupted conversion")
				}
				if err := d.RemoveTemplate(t.Context(), templateID, ofTemplate, "fast"); err != nil {
					t.Fatal(err)
				}
				if _, err := d.Guest(t.Context(), templateID); !errors.Is(err, driver.ErrNotFound) || len(n.Volumes("fast")) > 0 {
					t.Errorf("left: %v, %v", err, n.Volumes("fast"))
				}
			})
		}
	}
	for _, missing := range []string{"protection: 1", "tags: felhom-template"} {
		t.Run("without "+missing, func(t *testing.T) {
			n, d, of := withTemplate(t, "lvmthin")
			n.SetConfig(templateID, strings.Replace(n.Config(templateID), missing+"\n", "", 1)+"lock: disk\n")
			if err := errors.Join(d.FinishTemplate(t.Context(), templateID, ofTemplate), d.Clone(t.Context(), of, vmid, fast("a guest"), nil)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("on a directory", func(t *testing.T) {
		n, d := newDriver(t)
		dirStorage(t, n)
		s := fast(ofTemplate)
		s.Storage = "data"
		if err := d.Restore(t.Context(), templateID, s, nil); err != nil {
			t.Fatal(err)
		}
		n.SetConfig(templateID, n.Config(templateID)+"mp0: /srv,mp=/mnt\n") // pct says why, and exits with 0
		wantClass(t, d.FinishTemplate(t.Context(), templateID, ofTemplate), driver.ErrNoClone, "Template feature is not available for '/srv'")
	})
}

// PVE refuses to remove a base volume in use where its name says so; the template
// is protected before and after.
func TestRemoveTemplateInUse(t *testing.T) {
	for _, kind := range cloningTypes {
		t.Run(kind, func(t *testing.T) {
			n, d, of := withTemplate(t, kind)
			if err := d.Clone(t.Context(), of, vmid, fast("a guest"), nil); err != nil {
				t.Fatal(err)
			}
			named := kind == "zfspool" || kind == "rbd"
			before := n.Config(templateID)
			if named {
				calls := len(n.Calls())
				wantClass(t, d.RemoveTemplate(t.Context(), templateID, ofTemplate, "fast"), driver.ErrInUse, "8200")
				if got := n.Calls()[calls:]; len(got) > 0 || n.Config(templateID) != before {
					t.Errorf("calls %q, template\n%s", got, n.Config(templateID))
				}
				// A killed removal has ended the protection.
				n.SetConfig(templateID, strings.Replace(before, "protection: 1\n", "", 1))
				wantClass(t, d.RemoveTemplate(t.Context(), templateID, ofTemplate, "fast"), driver.ErrInUse, "8200")
				if n.Config(templateID) != before {
					t.Errorf("after a killed removal\n%s\nwant\n%s", n.Config(templateID), before)
				}
				all, err := d.Templates(t.Context())
				if err != nil || len(all) != 1 || !slices.Equal(all[0].UsedBy, []int{vmid}) {
					t.Errorf("templates %+v, %v", all, err)
				}
				// A clone whose configuration this node does not see: PVE itself refuses.
				config := n.Config(vmid)
				n.SetConfig(vmid, strings.Replace(config, "basevol-9900-disk-0/", "", 1))
				n.SetConfig(vmid, strings.Replace(n.Config(vmid), "base-9900-disk-0/", "", 1))
				wantClass(t, d.RemoveTemplate(t.Context(), templateID, ofTemplate, "fast"), driver.ErrInUse, "is still in use by linked clones")
				if n.Config(templateID) != before {
					t.Errorf("template\n%s\nwant\n%s", n.Config(templateID), before)
				}
				n.SetConfig(vmid, config)
			}
			if err := d.Destroy(t.Context(), vmid); err != nil {
				t.Fatal(err)
			}
			if n.Config(templateID) != before || len(n.Volumes("fast")) != 1 {
				t.Errorf("after the guest's removal: %v, template\n%s", n.Volumes("fast"), n.Config(templateID))
			}
			for range 2 {
				if err := d.RemoveTemplate(t.Context(), templateID, ofTemplate, "fast"); err != nil || len(n.Volumes("fast")) > 0 {
					t.Errorf("%v, volumes %v", err, n.Volumes("fast"))
				}
			}
		})
	}
}

// Killed between the end of the protection and the removal, by a done context.
func TestRemoveTemplateInterrupted(t *testing.T) {
	n, d, _ := withTemplate(t, "zfspool")
	n.SetConfig(templateID, strings.Replace(n.Config(templateID), "protection: 1\n", "", 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantClass(t, d.RemoveTemplate(ctx, templateID, ofTemplate, "fast"), context.Canceled)
	if err := d.RemoveTemplate(t.Context(), templateID, ofTemplate, "fast"); err != nil || len(n.Volumes("fast")) > 0 {
		t.Errorf("%v, volumes %v", err, n.Volumes("fast"))
	}
}
