// Package lxc drives the guests of a plain liblxc host, a build machine or a host
// without Proxmox VE: call [New]. A guest is a directory <path>/<vmid> that liblxc
// takes as a container of that name:
//
//	pct.conf     what the guest is, in PVE's grammar; the source of the next
//	config       liblxc's configuration, written before each start
//	rootfs       its root file system, owned through the id map
//	console.log  what it wrote to its console since the last start
//
// Guests are unprivileged, with nesting. Nothing is executed in a guest: before
// the first start the files are written that PVE writes before each one, and a
// mount into a running guest is one system call in its mount namespace.
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

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// Options are the host's places. The zero value of each but Path is Debian's.
type Options struct {
	Path       string         // directory of the guests: liblxc's lxcpath; absolute
	Storage    driver.Storage // measures the file systems of the guests below Path
	ConfigDir  string         // liblxc's common configuration; /usr/share/lxc/config
	SysDir     string         // /sys
	SubUIDFile string         // /etc/subuid
	SubGIDFile string         // /etc/subgid
	// InotifyFile is fs.inotify.max_user_instances below /proc/sys.
	InotifyFile string
	// MountDir is the directory of all guests' mounts, which are named by their
	// VMIDs. Attach and Start refuse a guest that mounts another directory of
	// this host than its own one; "" allows all.
	MountDir string
	// PerGuest gives each restored guest its own id range, from those that both
	// files give to root, whatever its archive says.
	PerGuest bool
}

// Driver runs the guests below one directory. It implements [driver.Hypervisor];
// file system figures are those of [Options].
type Driver struct {
	o Options
}

// Storage implements [driver.Hypervisor].
func (d *Driver) Storage(ctx context.Context, vmid int) ([]driver.Usage, error) {
	return d.o.Storage.Storage(ctx, vmid)
}

// New returns the driver of the guests below o.Path, which need not exist yet.
func New(o Options) *Driver {
	for _, d := range []struct {
		field *string
		value string
	}{
		{&o.ConfigDir, "/usr/share/lxc/config"},
		{&o.SysDir, "/sys"},
		{&o.SubUIDFile, "/etc/subuid"},
		{&o.SubGIDFile, "/etc/subgid"},
		{&o.InotifyFile, inotifyLimit},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	return &Driver{o: o}
}

const (
	confFile    = "pct.conf"
	lxcFile     = "config"
	rootfsDir   = "rootfs"
	consoleFile = "console.log"
	logFile     = "lxc.log"
)

func (d *Driver) dir(vmid int) string { return filepath.Join(d.o.Path, strconv.Itoa(vmid)) }

// partialDir is where a guest is before it is complete, and while it is
// removed.
func (d *Driver) partialDir(vmid int) string {
	return filepath.Join(d.o.Path, "."+strconv.Itoa(vmid)+".partial")
}

// Guest implements [driver.Hypervisor].
func (d *Driver) Guest(ctx context.Context, vmid int) (driver.Guest, error) {
	if err := context.Cause(ctx); err != nil {
		return driver.Guest{}, fmt.Errorf("guest %d: %w", vmid, err)
	}
	conf, err := d.readConf(vmid)
	if errors.Is(err, driver.ErrNotFound) {
		if _, err := os.Lstat(d.partialDir(vmid)); err == nil {
			return driver.Guest{VMID: vmid, State: driver.Stopped, Partial: true}, nil
		}
	}
	if err != nil {
		return driver.Guest{}, err
	}
	g, err := guestOf(vmid, conf)
	if err != nil {
		return driver.Guest{}, fmt.Errorf("guest %d: %w", vmid, err)
	}
	pid, err := d.initPID(ctx, vmid)
	if err != nil {
		return driver.Guest{}, err
	}
	g.State = driver.Stopped
	if pid != 0 {
		g.State = driver.Running
	}
	return g, nil
}

// Status implements [driver.Hypervisor].
func (d *Driver) Status(ctx context.Context, vmid int) (driver.Status, error) {
	if err := context.Cause(ctx); err != nil {
		return driver.Status{}, fmt.Errorf("guest %d: %w", vmid, err)
	}
	if _, err := os.Lstat(filepath.Join(d.dir(vmid), confFile)); err != nil {
		g, err := d.Guest(ctx, vmid) // a partial guest, or the reason why there is none
		return driver.Status{State: g.State}, err
	}
	pid, err := d.initPID(ctx, vmid)
	if err != nil {
		return driver.Status{}, err
	}
	st := driver.Status{State: driver.Stopped, ConsoleFile: filepath.Join(d.dir(vmid), consoleFile)}
	if pid != 0 {
		st.State = driver.Running
	}
	if st.Console, err = driver.ReadConsole(st.ConsoleFile); err != nil {
		return driver.Status{}, fmt.Errorf("guest %d: %w", vmid, err)
	}
	return st, nil
}

// readConf returns the guest's configuration, or ErrNotFound.
func (d *Driver) readConf(vmid int) (*pctconf.Config, error) {
	file := filepath.Join(d.dir(vmid), confFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(d.dir(vmid)); err == nil {
			return nil, driver.Fault(driver.ErrExists, "the directory is another container's: take another VMID", fmt.Errorf("guest %d: %w: %s has no %s", vmid, driver.ErrExists, d.dir(vmid), confFile))
		}
		return nil, driver.NoGuest(vmid)
	}
	if err != nil {
		return nil, fmt.Errorf("guest %d: %w", vmid, err)
	}
	conf, findings := pctconf.Parse(data)
	for _, f := range findings {
		if f.Severity == pctconf.Error {
			return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d: %s: %s", vmid, file, f), "correct that line by hand")
		}
	}
	return conf, nil
}

// initPID returns the process of the guest's init, 0 when it does not run.
func (d *Driver) initPID(ctx context.Context, vmid int) (int, error) {
	// STARTING, STOPPING and ABORTING have a process too: there is something
	// to wait for or to stop.
	_, pid, err := d.info(ctx, vmid)
	return pid, err
}

// The states of liblxc that matter here.
const (
	stateRunning = "RUNNING"
	stateStopped = "STOPPED"
)

// info returns liblxc's state of the guest, and the process of its init, 0 if
// it is STOPPED.
func (d *Driver) info(ctx context.Context, vmid int) (state string, pid int, err error) {
	// A guest that ends between lxc-info's two questions has a state without a
	// process. Its monitor needs the processor to report the end.
	limit := time.NewTimer(infoLimit)
	defer limit.Stop()
	for {
		res, err := d.run(ctx, "lxc-info", vmid, "--no-humanize", "--state", "--pid")
		if err != nil {
			return "", 0, fmt.Errorf("guest %d: %w", vmid, err)
		}
		if state, pid, ok := parseInfo(string(res.Stdout)); ok {
			return state, pid, nil
		}
		select {
		case <-ctx.Done():
			return "", 0, fmt.Errorf("guest %d: %w", vmid, context.Cause(ctx))
		case <-limit.C:
			return "", 0, driver.Fault(driver.ErrBusy, "try again when the guest has started or stopped", fmt.Errorf("guest %d: %w: lxc-info says %q", vmid, driver.ErrBusy, res.Stdout))
		case <-time.After(infoPause):
		}
	}
}

// infoLimit is how long a guest may be neither running nor stopped, and
// infoPause how often it is asked meanwhile.
const (
	infoLimit = 10 * time.Second
	infoPause = 50 * time.Millisecond
)

func parseInfo(text string) (state string, pid int, ok bool) {
	said := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			said[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
		}
	}
	if said["state"] == stateStopped {
		return stateStopped, 0, true
	}
	pid, err := strconv.Atoi(said["pid"])
	return said["state"], pid, err == nil && pid > 0
}

// environment is what liblxc's programs get: nothing from the caller.
func environment() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
}

// run runs one of liblxc's programs on guest vmid.
func (d *Driver) run(ctx context.Context, program string, vmid int, args ...string) (run.Result, error) {
	all := append([]string{"--lxcpath", d.o.Path, "--name", strconv.Itoa(vmid)}, args...)
	res, err := run.Run(ctx, run.Cmd{Path: program, Args: all, Env: environment()})
	if run.IsNotFound(err) {
		return res, driver.Faultf(driver.ErrWrongHost, installHint, "%w", err)
	}
	return res, err
}

const installHint = "apt-get install lxc uidmap"

// claim locks the guest for one change. It returns ErrBusy if another process
// has the lock. The lock is on a file beside the guest's directory, which
// release removes.
func (d *Driver) claim(vmid int) (release func() error, err error) {
	if err := makeDirectories(d.o.Path); err != nil {
		return nil, err
	}
	release, err = filelock.Claim(filepath.Join(d.o.Path, "."+strconv.Itoa(vmid)+".lock"))
	if errors.Is(err, filelock.ErrHeld) {
		err = driver.Fault(driver.ErrBusy, "another command changes this guest now; try again when it has ended", fmt.Errorf("guest %d: %w: %w", vmid, driver.ErrBusy, err))
	}
	return release, err
}

// makeDirectories makes path and the missing directories above it so that a
// guest's root can pass through them, whatever this process's umask is. Existing
// ones stay as they are.
func makeDirectories(path string) error {
	const mode = 0o711
	err := os.Mkdir(path, mode)
	if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		if err := makeDirectories(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, mode)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
