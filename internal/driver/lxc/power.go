package lxc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// startLimit bounds lxc-start, which returns when the guest's init runs.
const startLimit = time.Minute

// stopMargin is how much longer than the guest's grace lxc-stop may take.
const stopMargin = 30 * time.Second

// Start implements [driver.Hypervisor]. The guest outlives this process.
func (d *Driver) Start(ctx context.Context, vmid int) (err error) {
	release, err := d.claim(vmid)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	conf, err := d.whole(ctx, vmid, driver.Stopped)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	// liblxc only says that it could not start.
	if err := d.checkMounts(vmid, conf); err != nil {
		return fmt.Errorf("start guest %d: %w", vmid, err)
	}
	if err := d.renew(vmid, conf); err != nil {
		return fmt.Errorf("start guest %d: %w", vmid, err)
	}
	for _, name := range []string{consoleFile, logFile} {
		if err := os.Remove(filepath.Join(d.dir(vmid), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("start guest %d: %w", vmid, err)
		}
	}
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err = inNamespace(d.prepareCgroups, func() error {
		_, err := d.run(limited, "lxc-start", vmid, "--daemon", "--logfile", filepath.Join(d.dir(vmid), logFile), "--logpriority", "WARN")
		return err
	})
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("start guest %d: %w", vmid, cause)
	}
	if err != nil {
		return driver.Fault(driver.ErrStart, "to look closer, restore it with --no-start and start it by hand: lxc-start --foreground --lxcpath "+d.o.Path+" --name "+strconv.Itoa(vmid), fmt.Errorf("start guest %d: %w: %w%s", vmid, driver.ErrStart, err, d.complaints(vmid)))
	}
	pid, err := d.initPID(ctx, vmid)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if pid == 0 {
		return driver.Fault(driver.ErrStart, "to see what it says, restore it with --no-start and start it by hand: lxc-start --foreground --lxcpath "+d.o.Path+" --name "+strconv.Itoa(vmid), fmt.Errorf("start guest %d: %w: its init has ended already%s", vmid, driver.ErrStart, d.complaints(vmid)))
	}
	return nil
}

// whole returns the configuration of a guest that is whole and in state.
func (d *Driver) whole(ctx context.Context, vmid int, state driver.State) (*pctconf.Config, error) {
	g, err := d.Guest(ctx, vmid)
	switch {
	case err != nil:
		return nil, err
	case g.Partial:
		return nil, driver.Fault(driver.ErrPartial, "", fmt.Errorf("guest %d: %w", vmid, driver.ErrPartial))
	case g.State == driver.Running && state == driver.Stopped:
		return nil, driver.Fault(driver.ErrRunning, "", fmt.Errorf("guest %d: %w", vmid, driver.ErrRunning))
	case g.State == driver.Stopped && state == driver.Running:
		return nil, driver.Fault(driver.ErrNotRunning, "", fmt.Errorf("guest %d: %w", vmid, driver.ErrNotRunning))
	}
	return d.readConf(vmid)
}

// checkMounts finds a missing directory to mount, which liblxc does not name.
func (d *Driver) checkMounts(vmid int, conf *pctconf.Config) error {
	if err := d.checkOwner(vmid, conf); err != nil {
		return err
	}
	g, err := guestOf(vmid, conf)
	if err != nil {
		return err
	}
	for _, p := range g.Mounts {
		if err := driver.CheckDirectory(p.Source); err != nil {
			return driver.Faultf(driver.ErrStart, "make that directory, or detach the mount", "mount at %s: %w", p.Target, err)
		}
		if err := reachable(filepath.Dir(p.Source), g.Root.UID); err != nil {
			return fmt.Errorf("%w: mount at %s: %w", driver.ErrStart, p.Target, err)
		}
	}
	return nil
}

// renew writes liblxc's configuration again: what the host can do may have
// changed since the last start.
func (d *Driver) renew(vmid int, conf *pctconf.Config) error {
	ids, err := idMap(conf)
	if err != nil {
		return err
	}
	return atomicfile.In(d.dir(vmid), func(root *os.Root) error {
		return errors.Join(closeGuest(d.dir(vmid), ids), d.writeLXC(root, vmid, conf))
	})
}

// complaints returns the errors that liblxc wrote into its log. The first has
// the cause, and the others follow from it. They are quoted because the log is
// removed if the guest is undone.
func (d *Driver) complaints(vmid int) string {
	data, err := regular.Read(filepath.Join(d.dir(vmid), logFile), maxLog)
	if err != nil {
		return ""
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		// lxc-start 8200 20261126073938.105 ERROR    start - ../src/lxc/start.c:…
		if _, text, ok := strings.Cut(line, " ERROR "); ok && len(lines) < maxComplaints {
			lines = append(lines, "\nliblxc: "+termtext.Line(text, maxComplaint))
		}
	}
	return strings.Join(lines, "")
}

// The bounds of complaints.
const (
	maxLog        = 4 << 20 // bytes; a start writes some kilobytes
	maxComplaints = 8
	maxComplaint  = 500 // bytes of one
)

// Shutdown implements [driver.Hypervisor].
func (d *Driver) Shutdown(ctx context.Context, vmid int, grace time.Duration) (err error) {
	release, err := d.claim(vmid)
	if err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	defer func() { err = errors.Join(err, release()) }()
	if _, err := d.whole(ctx, vmid, driver.Running); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, grace+stopMargin)
	defer cancel()
	args := []string{"--kill"}
	if seconds := int(grace.Round(time.Second) / time.Second); seconds > 0 {
		args = []string{"--timeout", strconv.Itoa(seconds)}
	}
	_, stopErr := d.run(limited, "lxc-stop", vmid, args...)
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("shut down guest %d: %w", vmid, cause)
	}
	pid, err := d.initPID(ctx, vmid)
	if err != nil {
		return errors.Join(stopErr, err)
	}
	if pid != 0 {
		return driver.Fault(driver.ErrStop, "", fmt.Errorf("shut down guest %d: %w: %w", vmid, driver.ErrStop, errors.Join(stopErr, context.Cause(limited))))
	}
	return nil
}
