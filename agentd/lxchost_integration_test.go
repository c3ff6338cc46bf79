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
	"strconv"
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

const largeBytes = 12 << 20

func newLXCHost(t *testing.T) *lxcHost {
	t.Helper()
	if err := testbed.Require(t.Context(), os.Stderr, "lxc-start"); err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its directories are closed, and a guest's root is an unknown user here.
	dir, err := os.MkdirTemp("", "felhom-agentd-")
	no(t, err)
	t.Cleanup(func() { no(t, os.RemoveAll(dir)) })
	no(t, os.Chmod(dir, 0o711))
	h := &lxcHost{dir: dir, config: filepath.Join(dir, "agentd.yaml"), binary: filepath.Join(dir, program)}
	build := exec.Command("go", "build", "-o", h.binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
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

// newVMID returns the id of a guest that no other test has.
func (h *lxcHost) newVMID(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(testbed.VMIDs(t, 1)[0])
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

// left lists what exists of a guest anywhere on this host, but for locks.
func (h *lxcHost) left(t *testing.T, vmid string) []string {
	t.Helper()
	var list []string
	no(t, filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		name, isDir := d.Name(), d.IsDir()
		if errors.Is(err, os.ErrNotExist) {
			return nil // a guest beside this one is being removed
		}
		if err == nil && strings.Trim(strings.TrimSuffix(strings.TrimSuffix(name, ".partial"), ".json"), ".") == vmid {
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

// held is a command whose stderr takes so many lines and no more: it stops at
// the end of the step whose line does not fit.
type held struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	r      *os.File
}

// steps are those of a new guest; a line is written when one has ended.
var steps = []string{"check", "token", "mount", "restore", "attach", "start"}

// packets is how many writes the pipe of a held command takes; a power of two.
const packets = 8

// hold starts a command and returns when it stops at the end of step. The
// pipe is in packet mode, where each write fills a whole buffer: what counts is
// how many lines there are, not how long they are.
func (h *lxcHost) hold(t *testing.T, vmid, step string, args ...string) *held {
	t.Helper()
	var fds [2]int
	no(t, unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_DIRECT))
	w := os.NewFile(uintptr(fds[1]), "stderr")
	_, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, packets*os.Getpagesize())
	no(t, err)
	for range packets - slices.Index(steps, step) {
		_, err := w.WriteString(".")
		no(t, err)
	}
	held := &held{cmd: h.command(args...), r: os.NewFile(uintptr(fds[0]), "stderr")}
	held.cmd.Stdout, held.cmd.Stderr = &held.stdout, w
	no(t, held.cmd.Start())
	no(t, w.Close())
	t.Cleanup(func() {
		_ = held.cmd.Process.Kill() // it may have ended
		_ = held.cmd.Wait()
		no(t, held.r.Close())
	})
	waitFor(t, "guest "+vmid+" to end step "+step, func() bool {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", held.cmd.Process.Pid))
		no(t, err)
		return slices.ContainsFunc(tasks, func(file string) bool {
			where, _ := os.ReadFile(file) // the thread may have ended
			return strings.HasSuffix(string(where), "pipe_write")
		})
	})
	return held
}

func waitFor(t *testing.T, what string, isThere func() bool) {
	t.Helper()
	tick, end := time.NewTicker(time.Millisecond), time.After(2*time.Minute)
	defer tick.Stop()
	for !isThere() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// finish reads what the command writes until it ends.
func (p *held) finish(t *testing.T) result {
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
	partial := h.path("guests/." + vmid + ".partial/rootfs/padding")
	waitFor(t, partial, func() bool { info, err := os.Stat(partial); return err == nil && info.Size() > 0 })
	no(t, cmd.Process.Signal(sig))
	_ = cmd.Wait()
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

func (h *lxcHost) provision(vmid string, more ...string) []string {
	return append([]string{"provision", "--vmid", vmid, "--hostname", "g" + vmid, "--wait", "0s"}, more...)
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
