package pct_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
)

// withRules writes an archive that brings these firewall rules, early as PVE's
// own archives do, or behind the tree.
func withRules(t *testing.T, n *pcttest.Node, rules string, isLate bool) string {
	t.Helper()
	type member struct{ name, text string }
	fw := member{"./etc/vzdump/pct.fw", rules}
	members := []member{{"./etc/vzdump/pct.conf", strings.ReplaceAll(goldenConfig, "ARCH", runtime.GOARCH)}, fw, {"./", ""}, {"./etc/", ""}, {"./etc/motd", "golden\n"}}
	if isLate {
		members = append(append(members[:1:1], members[2:]...), fw)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(m.text)), Format: tar.FormatPAX, ModTime: day}
		if strings.HasSuffix(m.name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write([]byte(m.text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, n, "vzdump-lxc-9100-rules.tar", out.Bytes())
}

// PVE makes a pct.fw of the archive the guest's firewall without a word. Where
// PVE's own archives have it, it is found before anything is restored.
func TestArchiveBringsFirewallRules(t *testing.T) {
	for name, c := range map[string]struct {
		rules   string
		isLate  bool
		refused bool
	}{
		"rules":             {"[OPTIONS]\nenable: 1\n", false, true},
		"rules at the end":  {"[RULES]\nIN ACCEPT\n", true, true},
		"one byte":          {"x", false, true},
		"empty":             {"", false, false},
		"blank":             {" \n\n", false, false},
		"larger than taken": {strings.Repeat("# x\n", 300<<10), false, true},
	} {
		for _, operators := range []string{"", "[OPTIONS]\nenable: 1\npolicy_in: DROP\n"} {
			t.Run(name+"/"+operators, func(t *testing.T) {
				n, d := newDriver(t)
				dirStorage(t, n)
				file := filepath.Join(n.Dir("etc/pve/firewall"), "8200.fw")
				if operators != "" {
					if err := os.WriteFile(file, []byte(operators), 0o640); err != nil {
						t.Fatal(err)
					}
				}
				s := spec()
				s.Archive, s.Storage = withRules(t, n, c.rules, c.isLate), "data"
				checkErr := d.Check(t.Context(), vmid, s)
				if c.refused && !c.isLate {
					wantClass(t, checkErr, driver.ErrArchive, "firewall rules")
				} else if checkErr != nil {
					t.Error(checkErr)
				}
				err := d.Restore(t.Context(), vmid, s, nil)
				if !c.refused {
					if err != nil {
						t.Error(err)
					}
					return
				}
				wantClass(t, err, driver.ErrArchive, "firewall rules")
				_, err = d.Guest(t.Context(), vmid)
				wantClass(t, err, driver.ErrNotFound)
				if left := n.Volumes("data"); len(left) > 0 {
					t.Errorf("left %v", left)
				}
				wantRules(t, file, operators)
				calls := strings.Join(n.Calls(), "\n")
				if restored := strings.Contains(calls, "pct restore 8200") && strings.Contains(calls, "pct destroy 8200"); restored != c.isLate {
					t.Errorf("calls\n%s", calls)
				}
			})
		}
	}
}

// wantRules compares a guest's firewall file; "" means that it has none.
func wantRules(t *testing.T, file, want string) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) || string(got) != want || want == "" && err == nil {
		t.Errorf("firewall file: %q, %v, want %q", got, err, want)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left beside it: %v, %v", left, err)
	}
}

// PVE removes the firewall rules of a VMID with its guest: those that the operator
// made before the restore are put back, whatever made the restore fail.
func TestFailedRestoreKeepsTheOperatorsRules(t *testing.T) {
	const operators = "[OPTIONS]\nenable: 1\n"
	for name, faults := range map[string]pcttest.Faults{
		"what was restored": {RestoreAdds: "hookscript: local:snippets/x.pl\n"},
		"lost":              {LoseRestore: true},
		"full":              {DiskFull: true},
	} {
		t.Run(name, func(t *testing.T) {
			n, d := newDriver(t)
			file := filepath.Join(n.Dir("etc/pve/firewall"), "8200.fw")
			if err := os.WriteFile(file, []byte(operators), 0o640); err != nil {
				t.Fatal(err)
			}
			n.SetFaults(faults)
			if err := d.Restore(t.Context(), vmid, spec(), nil); err == nil {
				t.Error("restored")
			}
			wantRules(t, file, operators)
			n.SetFaults(pcttest.Faults{})
			if err := d.Restore(t.Context(), vmid, spec(), nil); err != nil {
				t.Error(err)
			}
			wantRules(t, file, operators)
		})
	}
}

// A process that is killed during a restore or a clone puts nothing back: PVE has
// removed the operator's rules with the beginning of the clone, and with the
// removal of what is left. The next one puts them back.
func TestKilledRestoreKeepsTheOperatorsRules(t *testing.T) {
	const operators = "[OPTIONS]\nenable: 1\n"
	for name, c := range map[string]struct {
		make    func(t *testing.T, d *pct.Driver, of driver.Template, p driver.Progress) error
		kill    func(n *pcttest.Node)
		discard func(t *testing.T, d *pct.Driver) error
	}{
		"restore": {
			make: func(t *testing.T, d *pct.Driver, _ driver.Template, p driver.Progress) error {
				return d.Restore(t.Context(), vmid, fast("a guest"), p)
			},
			kill:    func(n *pcttest.Node) { n.KillRestore(vmid, "local:backup/"+golden, "fast") },
			discard: func(t *testing.T, d *pct.Driver) error { return d.Discard(t.Context(), vmid, "fast") },
		},
		"clone": {
			make: func(t *testing.T, d *pct.Driver, of driver.Template, p driver.Progress) error {
				return d.Clone(t.Context(), of, vmid, fast("a guest"), p)
			},
			kill:    func(n *pcttest.Node) { n.KillClone(templateID, vmid, "a guest", "config") },
			discard: func(t *testing.T, d *pct.Driver) error { return d.DiscardClone(t.Context(), vmid, "a guest", "fast") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, d, of := withTemplate(t, "zfspool")
			file := filepath.Join(n.Dir("etc/pve/firewall"), "8200.fw")
			kept := func(want int) {
				t.Helper()
				if copies, err := filepath.Glob(file + ".*"); err != nil || len(copies) != want {
					t.Errorf("copies %v, %v, want %d", copies, err, want)
				}
			}
			if err := os.WriteFile(file, []byte(operators), 0o640); err != nil {
				t.Fatal(err)
			}
			die := func() {
				defer func() { _ = recover() }() // the process is killed: it undoes nothing
				err := c.make(t, d, of, func(int64, int64) {
					c.kill(n)
					panic("killed")
				})
				t.Errorf("it was not killed: %v", err)
			}
			die()
			kept(1)
			killed := filepath.Join(filepath.Dir(file), ".8200.fw.ABCDEFGH.tmp")
			if err := errors.Join(os.WriteFile(killed, nil, 0o640), os.RemoveAll(file)); err != nil {
				t.Fatal(err)
			}
			if err := c.discard(t, d); err != nil {
				t.Error(err)
			}
			wantRules(t, file, operators)
			kept(0)
			if _, err := os.Lstat(killed); !os.IsNotExist(err) {
				t.Errorf("the file of a killed write stays: %v", err)
			}
			// What was left was removed by hand, and the rules with it.
			die()
			if err := errors.Join(os.RemoveAll(file), c.discard(t, d), os.Remove(file)); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(file+".felhom-agentd", []byte(operators), 0o640); err != nil {
				t.Fatal(err)
			}
			if err := c.make(t, d, of, nil); err != nil {
				t.Error(err)
			}
			wantRules(t, file, operators)
			kept(0)
			if err := d.Destroy(t.Context(), vmid); err != nil {
				t.Error(err)
			}
			wantRules(t, file, "")
			kept(0)
		})
	}
}

// The whole guest of a killed restore has the rules that are there: the copy of them must
// not come back after they were changed.
func TestAdoptedGuestKeepsItsRules(t *testing.T) {
	n, d := newDriver(t)
	kept := filepath.Join(n.Dir("etc/pve/firewall"), "8200.fw.felhom-agentd")
	for name, change := range map[string]func() error{
		"attach": func() error {
			return d.Attach(t.Context(), vmid, driver.Mount{Source: n.Dir("local"), Target: "/mnt", ReadOnly: true})
		},
		"destroy": func() error { return d.Destroy(t.Context(), vmid) },
	} {
		if err := d.Restore(t.Context(), vmid, spec(), nil); err != nil && !errors.Is(err, driver.ErrExists) {
			t.Fatal(err)
		}
		if err := os.WriteFile(kept, []byte("[OPTIONS]\n"), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := change(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(kept); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the copy is still there: %v", name, err)
		}
	}
}

// The archive of a killed restore may have replaced the operator's rules, and its whole
// guest is adopted by the next run: not with those rules.
func TestAdoptedGuestWithOtherRules(t *testing.T) {
	n, d := newDriver(t)
	file := filepath.Join(n.Dir("etc/pve/firewall"), "8200.fw")
	if err := d.Restore(t.Context(), vmid, spec(), nil); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{file: "[RULES]\nIN ACCEPT\n", file + ".felhom-agentd": "[OPTIONS]\nenable: 1\n"} {
		if err := os.WriteFile(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	m := driver.Mount{Source: n.Dir("local"), Target: "/mnt", ReadOnly: true}
	wantClass(t, d.Attach(t.Context(), vmid, m), driver.ErrRefused, "8200.fw.felhom-agentd")
	if err := os.Rename(file+".felhom-agentd", file); err != nil {
		t.Fatal(err)
	}
	if err := d.Attach(t.Context(), vmid, m); err != nil {
		t.Error(err)
	}
	wantRules(t, file, "[OPTIONS]\nenable: 1\n")
}
