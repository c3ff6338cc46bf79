package pct

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
)

// Start implements [driver.Hypervisor]. It checks the sources of the guest's
// mounts before it asks PVE, which would only say that a hook failed.
func (d *Driver) Start(ctx context.Context, vmid int) error {
	return wrap(vmid, "start", d.start(ctx, vmid))
}

func (d *Driver) start(ctx context.Context, vmid int) error {
	v, err := d.whole(ctx, vmid)
	switch {
	case err != nil:
		return err
	case v.state == driver.Running:
		return driver.Faultf(driver.ErrRunning, "", "its state is %s", v.state)
	}
	if err := d.guard(vmid, v.config); err != nil {
		return err
	}
	for _, p := range v.config.Mounts() {
		if !p.IsDirectory() {
			continue
		}
		if err := driver.CheckDirectory(p.Source); err != nil {
			return driver.Faultf(driver.ErrStart, "make that directory, or remove the mount", "%s cannot be mounted: %s", p.Key, err)
		}
	}
	out, startErr := d.pct(ctx, "start", strconv.Itoa(vmid))
	return d.became(ctx, vmid, driver.Running, d.o.HA, out, startErr, driver.ErrStart)
}

// became waits until the guest has the state that a command was to bring about,
// and returns nil only then, whatever the command said. HA's manager acts only
// after the command has ended with 0, and has the time ha for it.
func (d *Driver) became(ctx context.Context, vmid int, want driver.State, ha time.Duration, out string, cmdErr, class error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	limit := d.o.Settle
	switch {
	case strings.Contains(out, "Requesting HA "):
		limit = ha
	case cmdErr != nil:
		limit = 0 // one look
	}
	var now driver.State
	look := func() (ready bool, err error) {
		now, err = d.state(ctx, vmid)
		return now == want, err
	}
	ok, err := d.poll(ctx, limit, look)
	if ok && cmdErr != nil && want == driver.Running {
		// The monitor of a guest that did not start ends a moment after pct.
		ok, err = d.stays(ctx, look)
	}
	switch {
	case err != nil:
		return err
	case ok && isClass(cmdErr, driver.ErrRunning, driver.ErrNotRunning):
		return cmdErr // another command was faster
	case ok:
		return nil
	case cmdErr != nil && isClass(cmdErr, class, driver.ErrBusy, driver.ErrNotReady, driver.ErrNoBridge, driver.ErrProtected, driver.ErrNotFound):
		return cmdErr
	case cmdErr != nil:
		return driver.Fault(class, "", errors.Join(class, cmdErr))
	}
	return driver.Faultf(class, "see the task's log on the node", "PVE reported success, and after %s it is %s", limit, now)
}

// stays checks for a while whether the guest keeps a state.
func (d *Driver) stays(ctx context.Context, look func() (bool, error)) (bool, error) {
	ended, err := d.poll(ctx, min(d.o.Settle, 4*d.o.Poll), func() (bool, error) {
		ready, err := look()
		return !ready, err
	})
	return !ended && err == nil, err
}

// Shutdown implements [driver.Hypervisor]. PVE itself kills the guest when
// grace is over.
func (d *Driver) Shutdown(ctx context.Context, vmid int, grace time.Duration) error {
	return wrap(vmid, "shutdown", d.shutdown(ctx, vmid, grace))
}

func (d *Driver) shutdown(ctx context.Context, vmid int, grace time.Duration) error {
	v, err := d.whole(ctx, vmid)
	switch {
	case err != nil:
		return err
	case v.state != driver.Running:
		return driver.Faultf(driver.ErrNotRunning, "", "its state is %s", v.state)
	}
	id := strconv.Itoa(vmid)
	args := []string{"stop", id}
	if grace > 0 {
		seconds := int64((grace + time.Second - 1) / time.Second)
		args = []string{"shutdown", id, "--timeout", strconv.FormatInt(seconds, 10), "--forceStop", "1"}
	}
	out, err := d.call(ctx, changeTimeout+grace, d.o.Pct, args...)
	return d.became(ctx, vmid, driver.Stopped, max(d.o.HA, grace+d.o.Settle), string(out), err, driver.ErrStop)
}

// Destroy implements [driver.Hypervisor]. It refuses a guest that HA, a
// replication job or its own protection holds.
func (d *Driver) Destroy(ctx context.Context, vmid int) error {
	return wrap(vmid, "destroy", d.destroy(ctx, vmid))
}

func (d *Driver) destroy(ctx context.Context, vmid int) error {
	v, err := d.whole(ctx, vmid)
	switch {
	case err != nil:
		return err
	case v.state == driver.Running:
		return driver.Faultf(driver.ErrRunning, "shut it down first", "its state is %s", v.state)
	}
	_, err = d.pct(ctx, "destroy", strconv.Itoa(vmid))
	if err := d.gone(ctx, vmid, err); err != nil {
		return err
	}
	return d.forgetRules(vmid)
}

// gone reads back that nothing is left of a guest.
func (d *Driver) gone(ctx context.Context, vmid int, cmdErr error) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	_, _, err := d.config(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil
	case cmdErr != nil:
		return cmdErr
	case err != nil:
		return err
	}
	return driver.Faultf(driver.ErrBusy, "see the task's log on the node", "PVE reported success, and its configuration is still there")
}
