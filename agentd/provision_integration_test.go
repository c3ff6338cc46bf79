//go:build integration

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

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
	t.Run("guest dies", h.guestDies)
	t.Run("disk full", h.diskFull)
	t.Run("mount in JSON", h.mountInJSON)
}

// mountInJSON: attach and detach say what they did, each time they are asked.
func (h *lxcHost) mountInJSON(t *testing.T) {
	vmid := h.newVMID(t)
	h.run(t, h.provision(vmid, "--no-start")...).works(t, ": provisioned")
	for _, c := range []struct {
		verb string
		want string
	}{
		{"detach", `{"guest":%s,"target":"/etc/felhom-bootstrap"}`},
		{"attach", `{"guest":%s,"mount":"` + h.path("mounts/"+vmid) + `","target":"/etc/felhom-bootstrap"}`},
	} {
		for range 2 {
			got := h.run(t, "guest", c.verb, "--json", vmid)
			var compact bytes.Buffer
			if err := json.Compact(&compact, []byte(got.stdout)); err != nil || got.code != 0 || compact.String() != fmt.Sprintf(c.want, vmid) {
				t.Errorf("guest %s: exit code %d, %v, %q, %s", c.verb, got.code, err, got.stdout, got.stderr)
			}
		}
	}
	h.remove(t, vmid)
	h.run(t, "guest", "attach", "--json", vmid).fails(t, 3, "felhom-agentd guest add "+vmid+" first")
	h.run(t, "guest", "detach", "--json", vmid).fails(t, 3)
}

// killed ends the command by SIGKILL between any two of its steps and in the
// middle of a restore: the same command finishes what was started, and a removal
// leaves nothing at all.
func (h *lxcHost) killed(t *testing.T) {
	for i, step := range append([]string{"in the restore"}, steps...) {
		for _, then := range []string{"finished", "removed"} {
			vmid := h.newVMID(t)
			t.Run(step+" "+then, func(t *testing.T) {
				t.Parallel()
				if i == 0 {
					h.signalInRestore(t, vmid, syscall.SIGKILL)
					for name, want := range map[string]bool{"." + vmid + ".partial": true, vmid: false} {
						if _, err := os.Lstat(h.path("guests/" + name)); (err == nil) != want {
							t.Fatalf("guests/%s after the kill: %v", name, err)
						}
					}
				} else {
					h.hold(t, vmid, step, h.provision(vmid)...).kill(t)
				}
				_, err := os.Lstat(h.path("state/provision/" + vmid + ".json"))
				if started := step != "check"; (err == nil) != started {
					t.Fatalf("journal after the kill: %v", err)
				}
				if then == "finished" {
					want := "finished"
					if step == "check" {
						want = "provisioned"
					}
					h.run(t, h.provision(vmid)...).works(t, ": "+want)
					h.isWhole(t, vmid)
					h.run(t, h.provision(vmid)...).works(t, ": unchanged")
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
		{"golden missing", h.newVMID(t), []string{"--golden", h.path("gone.tar.zst")}, 3, []string{
			"provision guest ", "the archive cannot be restored: open " + h.path("gone.tar.zst") + ": no such file", "hint: name the golden image by its absolute path",
		}},
		{"golden truncated", h.newVMID(t), []string{"--golden", damaged}, 3, []string{" undo", "restore guest ", damaged, "hint: felhom-golden verify " + damaged}},
		{"another architecture", h.newVMID(t), []string{"--golden", foreignArch}, 3, []string{"it is for arm64, this host is amd64", "hint: felhom-golden verify"}},
		{"no pct.conf", h.newVMID(t), []string{"--golden", empty}, 3, []string{"want ./etc/vzdump/pct.conf", empty}},
		{"bridge missing", h.newVMID(t), []string{"--bridge", "nobr0felhom"}, 3, []string{`there is no such bridge: "nobr0felhom"`, "hint: ip link lists the interfaces"}},
		{"init not executable", h.newVMID(t), []string{"--golden", noInit}, 1, []string{" undo", "start guest ", ": the guest does not start"}},
		{"no daemon", h.newVMID(t), []string{"--wait", "1m"}, 5, []string{"felhom-agentd does not serve: ", "hint: systemctl start felhom-agentd; or do not wait"}},
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
		vmid := h.newVMID(t)
		h.signalInRestore(t, vmid, syscall.SIGINT).fails(t, 130, vmid+" undo    done")
		h.nothingLeft(t, vmid)
	})
}

func (h *lxcHost) taken(t *testing.T) {
	vmid := h.newVMID(t)
	no(t, os.MkdirAll(h.path("guests/"+vmid+"/rootfs"), 0o711))
	no(t, os.WriteFile(h.path("guests/"+vmid+"/config"), []byte("lxc.uts.name = foreign\n"), 0o644))
	before := h.left(t, vmid)
	h.run(t, h.provision(vmid)...).fails(t, 3, "provision guest "+vmid, h.path("guests/"+vmid), "hint: the directory is another container's: take another VMID")
	if d := cmp.Diff(before, h.left(t, vmid)); d != "" {
		t.Errorf("what exists (-before +after):\n%s", d)
	}
}

func (h *lxcHost) twoAtOnce(t *testing.T) {
	vmid := h.newVMID(t)
	first := h.hold(t, vmid, "mount", h.provision(vmid)...)
	h.run(t, h.provision(vmid)...).fails(t, 5, "guest "+vmid+": locked by pid", "hint: that process changes the guest now")
	h.run(t, "guest", "remove", "--force", vmid).fails(t, 5, "locked by pid")
	h.run(t, "guest", "add", vmid).fails(t, 5, "locked by pid")
	first.finish(t).works(t, ": provisioned")
	h.isWhole(t, vmid)
	// What finds nothing elsewhere finds all of a guest that is there.
	all := strings.Join(h.left(t, vmid), "\n") + "\n"
	for _, part := range []string{h.path("guests/" + vmid + "\n"), h.path("mounts/" + vmid + "\n"), h.path("state/guests/" + vmid + ".json\n"), "[lxc monitor]", "/lxc.payload." + vmid, "/lxc.monitor." + vmid} {
		if !strings.Contains(all, part) {
			t.Errorf("%s is not in what exists of a running guest:\n%s", part, all)
		}
	}
	h.run(t, "guest", "remove", vmid).fails(t, 3, "the guest is running", "hint: its disks would be removed with it: stop it first, or add --force")
	h.isWhole(t, vmid)
	h.remove(t, vmid)
}

func (h *lxcHost) oneOfThree(t *testing.T) {
	one, two, three := h.newVMID(t), h.newVMID(t), h.newVMID(t)
	spec := h.path("guests.yaml")
	write := func(golden string) {
		no(t, os.WriteFile(spec, []byte("version: 1\nguests:\n  - {vmid: "+one+"}\n  - {vmid: "+two+", golden: "+golden+"}\n  - {vmid: "+three+", start: false}\n"), 0o644))
	}
	// What is found before the first change refuses all.
	write(h.path("gone.tar.zst"))
	h.run(t, "provision", "--spec", spec, "--wait", "0s").fails(t, 3, "guests.yaml:4: guest "+two+": ", "no such file")
	for _, vmid := range []string{one, two, three} {
		h.nothingLeft(t, vmid)
	}
	damaged := h.path("cut.tar.zst") // which is found while it is restored
	data, err := os.ReadFile(h.golden)
	no(t, err)
	no(t, os.WriteFile(damaged, data[:len(data)*2/3], 0o644))
	write(damaged)
	partly := h.run(t, "provision", "--spec", spec, "--wait", "0s")
	if strings.Count(partly.stdout, ": provisioned, not waited for\n") != 2 || strings.Contains(partly.stdout, "guest "+two) {
		t.Errorf("stdout %q, want the two guests that worked", partly.stdout)
	}
	partly.stdout = ""
	partly.fails(t, 3, "provision guest "+two+": ", damaged, one+" start   done", three+" start   skipped")
	h.nothingLeft(t, two)
	h.isWhole(t, one)
	h.run(t, "guest", "set", three, "--env", "MODE=edge", "--wait", "0s").works(t, ": updated, not waited for")
	h.run(t, "guest", "show", three).works(t, "environment  MODE=edge")
	h.run(t, "guest", "remove", three).works(t, "guest "+three+" removed")
	h.remove(t, one)
}

func (h *lxcHost) neverReports(t *testing.T) {
	vmid := h.newVMID(t)
	stop := h.serve(t)
	defer stop()
	h.run(t, "provision", "--vmid", vmid, "--wait", "2s").fails(t, 5, "guest "+vmid+": nothing was reported within 2s",
		"hint: does felhom-agentd serve, and does the guest reach its endpoint", "guest remove --force "+vmid+" removes it")
	h.isWhole(t, vmid)
	h.remove(t, vmid)
}

// guestDies: a guest that ended is noticed long before the wait is over.
func (h *lxcHost) guestDies(t *testing.T) {
	stop := h.serve(t)
	defer stop()
	const wait = 5 * time.Minute
	started := time.Now()
	t.Run("by itself", func(t *testing.T) {
		vmid := h.newVMID(t)
		ends := h.archive(t, tiny.Options{EndAfter: time.Second})
		h.run(t, "provision", "--vmid", vmid, "--golden", ends, "--wait", wait.String()).fails(t, 1, "guest "+vmid+": the guest has stopped",
			"console: small: ends by itself", "hint: its whole console is in "+h.path("guests/"+vmid+"/console.log"))
		if list := h.run(t, "guest", "list"); !strings.Contains(list.stdout, "the guest is stopped; its console: "+h.path("guests/"+vmid)) {
			t.Errorf("guest list does not say that it is stopped:\n%s%s", list.stdout, list.stderr)
		}
		h.remove(t, vmid)
	})
	t.Run("killed", func(t *testing.T) {
		vmid := h.newVMID(t)
		var stderr bytes.Buffer
		cmd := h.command("provision", "--vmid", vmid, "--wait", wait.String())
		cmd.Stderr = &stderr
		no(t, cmd.Start())
		journal := h.path("state/provision/" + vmid + ".json")
		waitFor(t, "the wait for guest "+vmid, func() bool {
			// The journal goes when the guest has started.
			_, whole := os.Stat(h.path("guests/" + vmid + "/console.log"))
			_, unfinished := os.Stat(journal)
			return whole == nil && os.IsNotExist(unfinished)
		})
		out, err := exec.Command("lxc-stop", "--lxcpath", h.path("guests"), "--name", vmid, "--kill").CombinedOutput()
		if err != nil {
			t.Errorf("lxc-stop: %v\n%s", err, out)
		}
		_ = cmd.Wait()
		result{cmd.ProcessState.ExitCode(), "", stderr.String()}.fails(t, 1, "guest "+vmid+": the guest has stopped")
		h.remove(t, vmid)
	})
	if took := time.Since(started); took > wait/2 {
		t.Errorf("both took %v", took)
	}
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
		{"seen before", "size=16m", h.large, h.newVMID(t), []string{"there is not enough space: " + dir + " has", "hint: free space there"}},
		{"in the middle", "size=16m", sparse, h.newVMID(t), []string{" undo    done", ": there is not enough space", "hint: free space below " + dir}},
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
