// Package guest looks into guests that the product runs on a liblxc host, for
// tests and the demo: through the disk, the network and, only for assertions,
// by commands in the guest ([Guest.Ask]), which the product does not have.
// Nothing here sets up a guest.
package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
)

// Guest is a guest below one lxcpath.
type Guest struct {
	VMID int
	Path string // the lxcpath
}

// Dir is the guest's directory.
func (g Guest) Dir() string { return filepath.Join(g.Path, strconv.Itoa(g.VMID)) }

// Rootfs is the guest's root directory.
func (g Guest) Rootfs() string { return filepath.Join(g.Dir(), "rootfs") }

// Init returns the process of the guest's init, 0 if it does not run.
func (g Guest) Init(ctx context.Context) (int, error) {
	res, err := run.Run(ctx, run.Cmd{Path: "lxc-info", Args: []string{"--lxcpath", g.Path, "--name", strconv.Itoa(g.VMID), "--no-humanize", "--pid"}})
	text := strings.TrimSpace(string(res.Stdout))
	if text == "" || text == "-1" || err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// monitor is the process that holds the guest: its mount namespace is the one
// in which liblxc's programs find the guest's cgroups.
func (g Guest) monitor(ctx context.Context) (int, error) {
	pid, err := g.Init(ctx)
	if err != nil {
		return 0, err
	}
	if pid == 0 {
		return 0, fmt.Errorf("guest %d does not run", g.VMID)
	}
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	// The name in field 2 may hold spaces; the parent is the second one behind it.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	return strconv.Atoi(string(fields[1]))
}

// Ask runs a command in the guest and returns its stdout, also with an error.
// It is for assertions only.
func (g Guest) Ask(ctx context.Context, argv ...string) (string, error) {
	monitor, err := g.monitor(ctx)
	if err != nil {
		return "", err
	}
	all := []string{
		"--mount", "--target", strconv.Itoa(monitor), "lxc-attach", "--lxcpath", g.Path, "--name", strconv.Itoa(g.VMID), "--clear-env", "--",
	}
	res, err := run.Run(ctx, run.Cmd{Path: "nsenter", Args: append(all, argv...)})
	return string(res.Stdout), err
}

// InNetwork returns the command line that runs a program of this machine with
// the guest's network.
func (g Guest) InNetwork(ctx context.Context, argv ...string) ([]string, error) {
	pid, err := g.Init(ctx)
	if err != nil {
		return nil, err
	}
	return append([]string{"nsenter", "--net", "--target", strconv.Itoa(pid)}, argv...), nil
}

// Booted waits until systemd has nothing more to start, the bootstrap
// included, and returns its state: "running", or "degraded" when units failed.
func (g Guest) Booted(ctx context.Context) (string, error) {
	var state string
	err := Poll(ctx, func() error {
		// Its status is not 0 for all states but "running".
		out, err := g.Ask(ctx, "systemctl", "is-system-running", "--wait")
		switch state = strings.TrimSpace(out); state {
		case "running", "degraded":
			return nil
		}
		return errors.Join(fmt.Errorf("systemd's state is %q", state), err)
	})
	if err != nil {
		return "", fmt.Errorf("guest %d: %w\n%s", g.VMID, err, g.Console())
	}
	return state, nil
}

// Socket is the path of a socket of the running guest, as seen from here.
func (g Guest) Socket(ctx context.Context, path string) (string, error) {
	pid, err := g.Init(ctx)
	return filepath.Join("/proc", strconv.Itoa(pid), "root", path), err
}

// Console returns the end of the guest's console, for an error message.
func (g Guest) Console() string {
	data, err := os.ReadFile(filepath.Join(g.Dir(), "console.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return "console: " + strings.Join(lines[max(0, len(lines)-25):], "\nconsole: ")
}

// Poll calls ready every 50 ms until it returns nil or ctx is done; the error
// then is ready's last one.
func Poll(ctx context.Context, ready func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
