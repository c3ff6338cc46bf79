// Package guest runs a golden archive as a real unprivileged LXC guest on a
// test bed's bridge, as Proxmox VE would: restored through the id map by
// felhom-golden, with a static address, with the host's config mount. It drives
// liblxc's programs from outside and imports nothing of the product.
//
// What it refuses to do is the product's first rule: nothing of a guest's setup
// is executed inside of it. Before the start files are written, afterwards only
// [Guest.Ask] enters the guest, for assertions.
package guest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// IDMapBase is the id on this machine of the guest's root, as on Proxmox VE.
const (
	IDMapBase = 100000
	idMapSize = 65536
)

// Settings say what to run and where.
type Settings struct {
	// Name is the guest's host name. It must be this machine's only container
	// of that name: cgroups are called after it.
	Name string
	// Dir is made for the guest and holds everything of it. The guest's root is
	// nobody on this machine, so every folder above must let others search it.
	Dir         string
	Golden      string       // felhom-golden, which restores the archive
	Archive     string       // the golden
	Bridge      string       // on this machine
	Address     netip.Prefix // of the guest's eth0
	ConfigMount string       // folder that the host writes for the guest; "" for none
}

// Guest is a restored guest. Remove takes it away in every state.
type Guest struct {
	s      Settings
	daemon *testbed.Daemon
	cmd    *exec.Cmd // the monitor, lxc-start; nil while the guest does not run
}

// Restore unpacks the archive and configures the guest. On an error nothing is
// left.
func Restore(ctx context.Context, s Settings) (_ *Guest, err error) {
	g := &Guest{s: s}
	if err := os.Mkdir(s.Dir, 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("restore guest %s: %w", s.Name, err), g.Remove(context.WithoutCancel(ctx)))
		}
	}()
	if err := os.MkdirAll(filepath.Join(g.lxcPath(), s.Name), 0o755); err != nil {
		return nil, err
	}
	_, err = run.Run(ctx, run.Cmd{Path: s.Golden, Args: []string{
		"unpack", "--idmap", fmt.Sprintf("b:0:%d:%d", IDMapBase, idMapSize), s.Archive, g.Rootfs(),
	}})
	if err != nil {
		return nil, err
	}
	top, err := os.Lstat(g.Rootfs())
	if err != nil {
		return nil, err
	}
	if st, ok := top.Sys().(*syscall.Stat_t); !ok || st.Uid != IDMapBase || st.Gid != IDMapBase {
		return nil, fmt.Errorf("%s does not belong to the guest's root: its systemd would see / owned by nobody", g.Rootfs())
	}
	if err := g.writeFiles(); err != nil {
		return nil, err
	}
	subid := fmt.Sprintf("root:%d:%d\n", IDMapBase, idMapSize)
	if err := os.WriteFile(filepath.Join(s.Dir, "subid"), []byte(subid), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(g.lxcPath(), s.Name, "config"), []byte(g.config()), 0o644); err != nil {
		return nil, err
	}
	return g, nil
}

// Rootfs is the guest's root folder.
func (g *Guest) Rootfs() string { return filepath.Join(g.s.Dir, "rootfs") }

func (g *Guest) lxcPath() string     { return filepath.Join(g.s.Dir, "lxc") }
func (g *Guest) consoleFile() string { return filepath.Join(g.s.Dir, "console.log") }

// The monitor has a mount namespace of its own with a cgroup2-only
// /sys/fs/cgroup, as a PVE host has: systemd in the guest refuses the older
// layout that this machine may have. newuidmap, which liblxc uses where it is
// installed, lets root map only what stands in subuid and subgid: the monitor
// sees our own, this machine's stay as they are. The namespace ends with the
// monitor.
const startScript = `set -e
mount --make-rslave /
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for file in /etc/subuid /etc/subgid; do mount --bind "$1" "$file"; done
shift
exec lxc-start "$@"`

// Start starts the guest and does not wait for its boot. The guest dies with
// this process: the kernel kills the monitor, and liblxc has it kill the guest.
func (g *Guest) Start() (err error) {
	cmd := exec.Command("sh", "-c", startScript, "sh", filepath.Join(g.s.Dir, "subid"), "--foreground",
		"--lxcpath", g.lxcPath(), "--name", g.s.Name,
		"--console-log", g.consoleFile(), "--logfile", filepath.Join(g.s.Dir, "lxc.log"), "--logpriority", "INFO")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	g.daemon, err = testbed.StartDaemon("guest "+g.s.Name, cmd, filepath.Join(g.s.Dir, "lxc-start.log"))
	if err == nil {
		g.cmd = cmd
	}
	return err
}

// Booted waits until systemd has nothing more to start, the bootstrap
// included, and returns its state: "running", or "degraded" when units failed.
func (g *Guest) Booted(ctx context.Context) (state string, err error) {
	err = g.daemon.Wait(ctx, func(ctx context.Context) error {
		// Its status is not 0 for all states but "running".
		out, err := g.Ask(ctx, "systemctl", "is-system-running", "--wait")
		switch state = strings.TrimSpace(out); state {
		case "running", "degraded":
			return nil
		}
		return errors.Join(fmt.Errorf("systemd's state is %q", state), err)
	})
	if err != nil {
		return "", fmt.Errorf("guest %s: %w\n%s", g.s.Name, err, g.Console())
	}
	return state, nil
}

// Ask runs a command in the guest and returns its stdout, also beside an error.
// It is for assertions only: what the guest does, it does without being told.
func (g *Guest) Ask(ctx context.Context, argv ...string) (string, error) {
	return g.lxc(ctx, "lxc-attach", append([]string{"--clear-env", "--"}, argv...)...)
}

// Socket is the path of a socket of the running guest, as seen from here.
func (g *Guest) Socket(ctx context.Context, path string) (string, error) {
	out, err := g.lxc(ctx, "lxc-info", "--no-humanize", "--pid")
	if err != nil {
		return "", err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out))
	return filepath.Join("/proc", strconv.Itoa(pid), "root", path), err
}

// lxc runs one of liblxc's programs where the monitor sees its cgroups.
func (g *Guest) lxc(ctx context.Context, program string, args ...string) (string, error) {
	if g.cmd == nil {
		return "", fmt.Errorf("guest %s does not run", g.s.Name)
	}
	all := []string{"--mount", "--target", strconv.Itoa(g.cmd.Process.Pid), program, "--lxcpath", g.lxcPath(), "--name", g.s.Name}
	res, err := run.Run(ctx, run.Cmd{Path: "nsenter", Args: append(all, args...)})
	return string(res.Stdout), err
}

// Console is the end of what the guest wrote to its console, for an error message.
func (g *Guest) Console() string {
	data, err := os.ReadFile(g.consoleFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return "console: " + strings.Join(lines[max(0, len(lines)-25):], "\nconsole: ")
}

// stopGrace is how long a guest has to shut down.
const stopGrace = 30 * time.Second

// Stop shuts the guest down, and kills one that does not, which is an error.
// A guest that does not run is nothing to do.
func (g *Guest) Stop(ctx context.Context) error {
	if g.cmd == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	_, err := g.lxc(ctx, "lxc-stop", "--nokill", "--timeout", "25")
	err = errors.Join(err, g.daemon.Ended(ctx), g.daemon.StopAnyway())
	g.cmd = nil
	if err != nil {
		return fmt.Errorf("stop guest %s: %w", g.s.Name, err)
	}
	return nil
}

// Remove stops the guest and removes all that there is of it.
func (g *Guest) Remove(ctx context.Context) error {
	err := g.Stop(ctx)
	// liblxc parks its monitor there while it stops, and leaves the empty
	// cgroup behind. One that another container uses can not be removed.
	for _, dir := range []string{"/sys/fs/cgroup/unified/lxc.pivot", "/sys/fs/cgroup/lxc.pivot"} {
		_ = os.Remove(dir)
	}
	return errors.Join(err, os.RemoveAll(g.s.Dir))
}
