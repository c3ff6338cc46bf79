//go:build integration

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/e2e/tiny"
)

// TestProvisionOnLXC shares one host: to make its archives is half the work.
func TestProvisionOnLXC(t *testing.T) {
	h := newLXCHost(t)
	t.Run("killed", h.killed)
	t.Run("refused", h.refused)
	t.Run("number taken", h.taken)
	t.Run("two at once", h.twoAtOnce)
	t.Run("one of three", h.oneOfThree)
	t.Run("never reports", h.neverReports)
	t.Run("disk full", h.diskFull)
}

// killed ends the command by SIGKILL between any two of its steps and in the
// middle of a restore: the same command finishes what was begun, and a removal
// leaves nothing at all.
func (h *lxcHost) killed(t *testing.T) {
	for i, step := range append([]string{"in the restore"}, steps...) {
		for k, then := range []string{"finished", "removed"} {
			vmid := fmt.Sprint(8600 + 10*i + k)
			t.Run(step+" "+then, func(t *testing.T) {
				t.Parallel()
				if i == 0 {
					h.signalInRestore(t, vmid, syscall.SIGKILL)
					for name, want := range map[string]bool{"." + vmid + ".half": true, vmid: false} {
						if _, err := os.Lstat(h.path("guests/" + name)); (err == nil) != want {
							t.Fatalf("guests/%s after the kill: %v", name, err)
						}
					}
				} else {
					h.hold(t, vmid, step, h.provision(vmid)...).kill(t)
				}
				_, err := os.Lstat(h.path("state/provision/" + vmid + ".json"))
				if begun := step != "check"; (err == nil) != begun {
					t.Fatalf("journal after the kill: %v", err)
				}
				if then == "finished" {
					want := "finished"
					if step == "check" {
						want = "provisioned"
					}
					h.run(t, h.provision(vmid)...).works(t, "guest "+vmid+" "+want)
					h.isWhole(t, vmid)
					h.run(t, h.provision(vmid)...).works(t, "guest "+vmid+" unchanged")
					h.remove(t, vmid)
					return
				}
				if step == "check" {
					h.run(t, "guest", "remove", "--force", vmid).fails(t, 3, "knows no guest of that VMID", "hint: felhom-agentd guest list")
					h.nothingLeft(t, vmid)
					return
				}
				h.remove(t, vmid)
			})
		}
	}
}

// refused is everything that can be in the way of one guest.
func (h *lxcHost) refused(t *testing.T) {
	damaged := h.path("truncated.tar.zst")
	data, err := os.ReadFile(h.golden)
	no(t, err)
	no(t, os.WriteFile(damaged, data[:len(data)*2/3], 0o644))
	empty := h.path("empty.tar")
	no(t, exec.Command("tar", "-cf", empty, "-T", "/dev/null").Run())
	foreignArch := h.archive(t, tiny.Options{Config: strings.Replace(tiny.Config(), "arch: ", "arch: arm64\n#", 1)})
	noInit := h.archive(t, tiny.Options{InitMode: 0o644})
	cases := []struct {
		name  string
		vmid  string
		flags []string
		code  int
		texts []string
	}{
		{"golden missing", "8700", []string{"--golden", h.path("gone.tar.zst")}, 3, []string{
			"provision guest 8700: ", "the archive cannot be restored: open " + h.path("gone.tar.zst") + ": no such file", "hint: name the golden by its absolute path",
		}},
		{"golden truncated", "8701", []string{"--golden", damaged}, 3, []string{"8701 undo", "restore guest 8701", damaged, "hint: felhom-golden verify " + damaged}},
		{"another architecture", "8702", []string{"--golden", foreignArch}, 3, []string{"it is for arm64, this host is amd64", "hint: felhom-golden verify"}},
		{"no pct.conf", "8703", []string{"--golden", empty}, 3, []string{"it has no ./etc/vzdump/pct.conf", empty}},
		{"bridge missing", "8704", []string{"--bridge", "nobr0felhom"}, 3, []string{`there is no such bridge: "nobr0felhom"`, "hint: ip link shows what there is"}},
		{"init not executable", "8705", []string{"--golden", noInit}, 1, []string{"8705 undo", "start guest 8705: the guest does not start"}},
		{"nobody serves", "8706", []string{"--wait", "1m"}, 5, []string{"felhom-agentd does not serve: ", "hint: systemctl start felhom-agentd; or do not wait"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h.run(t, h.provision(c.vmid, c.flags...)...).fails(t, c.code, c.texts...)
			h.nothingLeft(t, c.vmid)
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		h.signalInRestore(t, "8710", syscall.SIGINT).fails(t, 130, "8710 undo    done")
		h.nothingLeft(t, "8710")
	})
}

func (h *lxcHost) taken(t *testing.T) {
	no(t, os.MkdirAll(h.path("guests/8711/rootfs"), 0o711))
	no(t, os.WriteFile(h.path("guests/8711/config"), []byte("lxc.uts.name = theirs\n"), 0o644))
	before := h.left(t, "8711")
	h.run(t, h.provision("8711")...).fails(t, 3, "provision guest 8711", h.path("guests/8711"), "hint: the folder is another container's: take another VMID")
	if d := cmp.Diff(before, h.left(t, "8711")); d != "" {
		t.Errorf("what there is (-before +after):\n%s", d)
	}
}

func (h *lxcHost) twoAtOnce(t *testing.T) {
	first := h.hold(t, "8712", "mount", h.provision("8712")...)
	h.run(t, h.provision("8712")...).fails(t, 5, "guest 8712: locked by pid", "hint: that process provisions or removes the guest now")
	h.run(t, "guest", "remove", "--force", "8712").fails(t, 5, "locked by pid")
	h.run(t, "guest", "add", "8712").fails(t, 5, "locked by pid")
	first.goOn(t).works(t, "guest 8712 provisioned")
	h.isWhole(t, "8712")
	// What finds nothing elsewhere finds all of a guest that is there.
	all := strings.Join(h.left(t, "8712"), "\n") + "\n"
	for _, part := range []string{h.path("guests/8712\n"), h.path("mounts/8712\n"), h.path("state/guests/8712.json\n"), "[lxc monitor]", "/lxc.payload.8712", "/lxc.monitor.8712"} {
		if !strings.Contains(all, part) {
			t.Errorf("%s is not in what there is of a running guest:\n%s", part, all)
		}
	}
	h.run(t, "guest", "remove", "8712").fails(t, 3, "the guest is running", "hint: its disks would be removed with it: stop it first, or add --force")
	h.isWhole(t, "8712")
	h.remove(t, "8712")
}

func (h *lxcHost) oneOfThree(t *testing.T) {
	spec := h.path("guests.yaml")
	no(t, os.WriteFile(spec, []byte("version: 1\nguests:\n  - {vmid: 8713}\n  - {vmid: 8714, golden: "+h.path("gone.tar.zst")+"}\n  - {vmid: 8715, start: false}\n"), 0o644))
	h.run(t, "provision", "--spec", spec, "--wait", "0s").fails(t, 3, "provision guest 8714: ", "no such file", "8713 start   done", "8715 start   skipped")
	h.nothingLeft(t, "8714")
	h.isWhole(t, "8713")
	h.run(t, "guest", "remove", "8715").works(t, "guest 8715 removed")
	h.remove(t, "8713")
}

func (h *lxcHost) neverReports(t *testing.T) {
	stop := h.serve(t)
	defer stop()
	h.run(t, "provision", "--vmid", "8716", "--wait", "2s").fails(t, 5, "guest 8716: nothing was reported within 2s",
		"hint: does felhom-agentd serve, and does the guest reach its endpoint", "guest remove --force 8716 takes it back")
	h.isWhole(t, "8716")
	h.remove(t, "8716")
}

// diskFull: too little room is found before anything is written
// where that can be known, and undone where it can not.
func (h *lxcHost) diskFull(t *testing.T) {
	dir := h.path("small")
	no(t, os.Mkdir(dir, 0o711))
	sparse := h.archive(t, tiny.Options{Padding: 17 << 20})
	for _, c := range []struct {
		name, size, golden, vmid string
		texts                    []string
	}{
		{"seen before", "size=16m", h.large, "8720", []string{"there is not enough space: " + dir + " has", "hint: free space there"}},
		{"in the middle", "size=16m", sparse, "8721", []string{"8721 undo    done", "restore guest 8721: there is not enough space", "hint: free space below " + dir}},
	} {
		t.Run(c.name, func(t *testing.T) {
			no(t, unix.Mount("tmpfs", dir, "tmpfs", 0, c.size+",mode=711"))
			t.Cleanup(func() { no(t, unix.Unmount(dir, 0)) })
			h.writeConfig(t, dir)
			h.run(t, h.provision(c.vmid, "--golden", c.golden)...).fails(t, 1, c.texts...)
			h.nothingLeft(t, c.vmid)
		})
	}
}
