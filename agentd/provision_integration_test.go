//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/e2e/tiny"
)

// lxcHost is a plain liblxc host on the bed's bridge. Its guests are real, and
// small: an init that waits.
type lxcHost struct {
	dir, config, binary string
	golden, large       string // archives; large takes its time to unpack
}

const largeBytes = 48 << 20

func newLXCHost(t *testing.T) *lxcHost {
	t.Helper()
	if err := testbed.Require(t.Context(), os.Stderr, "lxc-start"); err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its folders are closed, and a guest's root is nobody here.
	dir, err := os.MkdirTemp("", "felhom-agentd-")
	no(t, err)
	t.Cleanup(func() { no(t, os.RemoveAll(dir)) })
	no(t, os.Chmod(dir, 0o711))
	h := &lxcHost{dir: dir, config: filepath.Join(dir, "agentd.yaml"), binary: filepath.Join(dir, program)}
	self, err := os.Executable()
	no(t, err)
	no(t, os.Symlink(self, h.binary)) // the test binary is also the program
	h.golden, h.large = h.archive(t, tiny.Options{}), h.archive(t, tiny.Options{Padding: largeBytes, Random: true})
	h.writeConfig(t, h.path("guests"))
	return h
}

func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (h *lxcHost) path(name string) string { return filepath.Join(h.dir, name) }

func (h *lxcHost) writeConfig(t *testing.T, lxcPath string) {
	t.Helper()
	bed := testbed.FromEnv(t)
	text := fmt.Sprintf("host_id: demo\nhub_url: https://hub.example\ncontroller_image: registry.example/felhom/controller:v1\n"+
		"listen: [\"%[2]s:18443\"]\nbridge: %[3]s\nstate_dir: %[1]s/state\nmounts_dir: %[1]s/mounts\nhealth_socket: %[1]s/health.sock\n"+
		"hypervisor: lxc\nlxc: {path: %[4]s}\nprovision: {golden: %[5]s}\n", h.dir, bed.Address, bed.Bridge, lxcPath, h.golden)
	no(t, os.WriteFile(h.config, []byte(text), 0o600))
}

func (h *lxcHost) archive(t *testing.T, o tiny.Options) string {
	t.Helper()
	f, err := os.CreateTemp(h.dir, "vzdump-lxc-9100-*.tar.zst")
	no(t, err)
	no(t, f.Close())
	no(t, tiny.WriteWith(t.Context(), f.Name(), o))
	return f.Name()
}

func (h *lxcHost) command(args ...string) *exec.Cmd {
	all := testbed.WithSubIDs(append([]string{h.binary, "--config", h.config}, args...)...)
	return exec.Command(all[0], all[1:]...)
}

type result struct {
	code           int
	stdout, stderr string
}

func (h *lxcHost) run(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := h.command(args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, isExit := errors.AsType[*exec.ExitError](err); err != nil && !isExit {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// fails wants an exit code, these texts on stderr, and nothing on stdout.
func (r result) fails(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code || r.stdout != "" {
		t.Errorf("exit code %d, stdout %q, want %d and nothing; stderr:\n%s", r.code, r.stdout, code, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			t.Errorf("%q is not in stderr:\n%s", text, r.stderr)
		}
	}
}

func (r result) works(t *testing.T, text string) {
	t.Helper()
	if r.code != 0 || !strings.Contains(r.stdout, text) {
		t.Fatalf("exit code %d, want 0 and %q; stdout:\n%sstderr:\n%s", r.code, text, r.stdout, r.stderr)
	}
}

// left lists what there is of a guest anywhere on this host, but for locks.
func (h *lxcHost) left(t *testing.T, vmid string) []string {
	t.Helper()
	var list []string
	no(t, filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		name, isDir := d.Name(), d.IsDir()
		if errors.Is(err, os.ErrNotExist) {
			return nil // a guest beside this one is being removed
		}
		if err == nil && strings.Trim(strings.TrimSuffix(strings.TrimSuffix(name, ".half"), ".json"), ".") == vmid {
			list = append(list, path)
		}
		if isDir && name == "rootfs" {
			return filepath.SkipDir
		}
		return err
	}))
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	no(t, err)
	for _, file := range procs {
		line, _ := os.ReadFile(file) // it may have ended
		if bytes.Contains(line, []byte(h.dir)) && bytes.Contains(line, []byte(vmid)) && bytes.Contains(line, []byte("lxc")) && !bytes.Contains(line, []byte("lxc-info")) {
			list = append(list, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return append(list, cgroups(t, vmid)...)
}

// cgroups lists those that are named for the guest, in every hierarchy.
func cgroups(t *testing.T, vmid string) (list []string) {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", cgroup2(t)} {
		no(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err == nil && d.IsDir() && strings.Contains(d.Name(), "."+vmid) {
				list = append(list, path)
			}
			return err
		}))
	}
	return list
}

// cgroup2 mounts the unified hierarchy, which a host of the older layout may
// have nowhere, for the time of the test.
func cgroup2(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cgroup2")
	no(t, os.Mkdir(dir, 0o700))
	no(t, unix.Mount("cgroup2", dir, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	t.Cleanup(func() { no(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

func (h *lxcHost) nothingLeft(t *testing.T, vmid string) {
	t.Helper()
	if left := h.left(t, vmid); len(left) > 0 {
		t.Errorf("left of guest %s:\n%s", vmid, strings.Join(left, "\n"))
	}
}

// isWhole wants a running guest that is known, mounted, and not unfinished.
func (h *lxcHost) isWhole(t *testing.T, vmid string) {
	t.Helper()
	var number int
	_, err := fmt.Sscan(vmid, &number)
	no(t, err)
	g, err := lxc.New(lxc.Options{Path: h.path("guests")}).Guest(t.Context(), number)
	no(t, err)
	want := []driver.Mount{{Source: h.path("mounts/" + vmid), Target: "/etc/felhom-bootstrap", ReadOnly: true}}
	if d := cmp.Diff(want, g.Mounts); d != "" || g.State != driver.Running {
		t.Errorf("the guest is %s; mounts (-want +got):\n%s", g.State, d)
	}
	data, err := os.ReadFile(h.path("state/guests/" + vmid + ".json"))
	var record struct {
		Provisioned struct{ ID string }
	}
	if err := errors.Join(err, json.Unmarshal(data, &record)); err != nil || !strings.HasSuffix(g.Description, "provision "+record.Provisioned.ID) {
		t.Errorf("error %v, record %s, description %q", err, data, g.Description)
	}
	if _, err := os.Stat(h.path("mounts/" + vmid + "/bootstrap.json")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(h.path("state/provision/" + vmid + ".json")); !os.IsNotExist(err) {
		t.Errorf("journal: %v", err)
	}
}

func (h *lxcHost) remove(t *testing.T, vmid string) {
	t.Helper()
	h.run(t, "guest", "remove", "--force", vmid).works(t, "guest "+vmid+" removed")
	h.nothingLeft(t, vmid)
}

// held is a command whose stderr takes so many lines and no more: it stands
// still at the end of the step whose line does not fit.
type held struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	r      *os.File
	full   int
}

// steps are those of a new guest; a line is written when one has ended.
var steps = []string{"check", "token", "mount", "restore", "attach", "start"}

// lineBytes is how long the line of a step is, for a writer that is no terminal.
func (h *lxcHost) lineBytes(vmid, step string) int {
	bytes := len(fmt.Sprintf("%s %-7s %-9s %8s\n", vmid, step, "done", "1ms"))
	switch step {
	case "mount":
		bytes += 2 + len(h.path("mounts/"+vmid))
	case "restore":
		bytes += 2 + len("BC:24:11:00:00:00")
	}
	return bytes
}

// hold starts a command and returns when it stands still at the end of step.
func (h *lxcHost) hold(t *testing.T, vmid, step string, args ...string) *held {
	t.Helper()
	var fds [2]int
	no(t, unix.Pipe2(fds[:], unix.O_CLOEXEC))
	w := os.NewFile(uintptr(fds[1]), "stderr")
	full, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
	no(t, err)
	room := 0
	for _, s := range steps[:slices.Index(steps, step)] {
		room += h.lineBytes(vmid, s)
	}
	_, err = w.Write(bytes.Repeat([]byte("."), full-room))
	no(t, err)
	held := &held{cmd: h.command(args...), r: os.NewFile(uintptr(fds[0]), "stderr"), full: full}
	held.cmd.Stdout, held.cmd.Stderr = &held.stdout, w
	no(t, held.cmd.Start())
	no(t, w.Close())
	t.Cleanup(func() {
		_ = held.cmd.Process.Kill() // it may have ended
		_ = held.cmd.Wait()
		no(t, held.r.Close())
	})
	waitFor(t, "the command to end step "+step, func() bool {
		queued, err := unix.IoctlGetInt(int(held.r.Fd()), unix.TIOCINQ)
		no(t, err)
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", held.cmd.Process.Pid))
		no(t, err)
		return queued == full && slices.ContainsFunc(tasks, func(file string) bool {
			where, _ := os.ReadFile(file) // the thread may have ended
			return strings.HasSuffix(string(where), "pipe_write")
		})
	})
	return held
}

func waitFor(t *testing.T, what string, isThere func() bool) {
	t.Helper()
	tick, end := time.NewTicker(2*time.Millisecond), time.After(30*time.Second)
	defer tick.Stop()
	for !isThere() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// goOn reads what the command writes until it ends.
func (p *held) goOn(t *testing.T) result {
	t.Helper()
	var stderr bytes.Buffer
	_, err := stderr.ReadFrom(p.r)
	no(t, err)
	if err := p.cmd.Wait(); err != nil {
		if _, isExit := errors.AsType[*exec.ExitError](err); !isExit {
			t.Fatal(err)
		}
	}
	return result{p.cmd.ProcessState.ExitCode(), p.stdout.String(), strings.TrimLeft(stderr.String(), ".")}
}

func (p *held) kill(t *testing.T) {
	t.Helper()
	no(t, p.cmd.Process.Signal(syscall.SIGKILL))
	_ = p.cmd.Wait()
	if st, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
		t.Fatalf("the command was not killed: %v", p.cmd.ProcessState)
	}
}

// signalInRestore starts a command and sends it a signal in the middle of its
// restore; it returns what the command did.
func (h *lxcHost) signalInRestore(t *testing.T, vmid string, sig os.Signal) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := h.command(h.provision(vmid, "--golden", h.large)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	no(t, cmd.Start())
	half := h.path("guests/." + vmid + ".half/rootfs/padding")
	waitFor(t, half, func() bool { info, err := os.Stat(half); return err == nil && info.Size() > 1<<20 })
	no(t, cmd.Process.Signal(sig))
	_ = cmd.Wait()
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func (h *lxcHost) provision(vmid string, more ...string) []string {
	return append([]string{"provision", "--vmid", vmid, "--hostname", "g" + vmid, "--wait", "0s"}, more...)
}

// TestProvisionKilled ends the command by SIGKILL between any two of its steps
// and in the middle of a restore: the same command finishes what was begun, and
// a removal leaves nothing at all.
func TestProvisionKilled(t *testing.T) {
	h := newLXCHost(t)
	t.Run("points", func(t *testing.T) {
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
	})
}

// TestProvisionFaults: everything that can be in the way.
func TestProvisionFaults(t *testing.T) {
	h := newLXCHost(t)
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
		{"nobody serves", "8706", []string{"--wait", "1m"}, 5, []string{"felhom-agentd does not serve here", "hint: systemctl start felhom-agentd; or do not wait"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h.run(t, h.provision(c.vmid, c.flags...)...).fails(t, c.code, c.texts...)
			h.nothingLeft(t, c.vmid)
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		h.signalInRestore(t, "8710", syscall.SIGINT).fails(t, 130, "8710 undo    done")
		h.nothingLeft(t, "8710")
	})
	t.Run("number taken", func(t *testing.T) {
		no(t, os.MkdirAll(h.path("guests/8711/rootfs"), 0o711))
		no(t, os.WriteFile(h.path("guests/8711/config"), []byte("lxc.uts.name = theirs\n"), 0o644))
		before := h.left(t, "8711")
		h.run(t, h.provision("8711")...).fails(t, 3, "provision guest 8711", h.path("guests/8711"), "hint: the folder is another container's: take another VMID")
		if d := cmp.Diff(before, h.left(t, "8711")); d != "" {
			t.Errorf("what there is (-before +after):\n%s", d)
		}
	})
	t.Run("two at once", func(t *testing.T) {
		first := h.hold(t, "8712", "mount", h.provision("8712")...)
		h.run(t, h.provision("8712")...).fails(t, 5, "guest 8712: locked by pid", "hint: that process provisions or removes the guest now")
		h.run(t, "guest", "remove", "--force", "8712").fails(t, 5, "locked by pid")
		h.run(t, "guest", "add", "8712").fails(t, 5, "locked by pid")
		first.goOn(t).works(t, "guest 8712 provisioned")
		h.isWhole(t, "8712")
		h.run(t, "guest", "remove", "8712").fails(t, 3, "the guest is running", "hint: its disks would be removed with it: stop it first, or add --force")
		h.isWhole(t, "8712")
		h.remove(t, "8712")
	})
	t.Run("one of three", func(t *testing.T) {
		spec := h.path("guests.yaml")
		no(t, os.WriteFile(spec, []byte("version: 1\nguests:\n  - {vmid: 8713}\n  - {vmid: 8714, golden: "+h.path("gone.tar.zst")+"}\n  - {vmid: 8715, start: false}\n"), 0o644))
		h.run(t, "provision", "--spec", spec, "--wait", "0s").fails(t, 3, "provision guest 8714: ", "no such file", "8713 start   done", "8715 start   skipped")
		h.nothingLeft(t, "8714")
		h.isWhole(t, "8713")
		h.run(t, "guest", "remove", "8715").works(t, "guest 8715 removed")
		h.remove(t, "8713")
	})
	t.Run("never reports", func(t *testing.T) {
		stop := h.serve(t)
		defer stop()
		h.run(t, "provision", "--vmid", "8716", "--wait", "2s").fails(t, 5, "guest 8716: nothing was reported within 2s",
			"hint: does felhom-agentd serve, and does the guest reach its endpoint", "guest remove --force 8716 takes it back")
		h.isWhole(t, "8716")
		h.remove(t, "8716")
	})
}

// serve runs the daemon until stop.
func (h *lxcHost) serve(t *testing.T) (stop func()) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := h.command("serve")
	cmd.Stderr = &stderr
	no(t, cmd.Start())
	waitFor(t, "the daemon's health", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return askHealth(ctx, h.path("health.sock")) == nil
	})
	return func() {
		no(t, cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil {
			t.Errorf("serve: %v\n%s", err, stderr.String())
		}
	}
}

// TestProvisionDiskFull: too little room is found before anything is written
// where that can be known, and undone where it can not.
func TestProvisionDiskFull(t *testing.T) {
	h := newLXCHost(t)
	dir := h.path("small")
	no(t, os.Mkdir(dir, 0o711))
	sparse := h.archive(t, tiny.Options{Padding: 64 << 20})
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
