package pct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// Restore implements [driver.Hypervisor]. It never uses --force, --start or
// mounts: with force, PVE loses the old guest if the restore fails; with start,
// it hides a failed start; and a restore would write into a mount. PVE does not
// report progress: p is called only at the start and the end.
func (d *Driver) Restore(ctx context.Context, vmid int, s driver.Spec, p driver.Progress) error {
	return wrap(vmid, "restore", d.restore(ctx, vmid, s, p))
}

func (d *Driver) restore(ctx context.Context, vmid int, s driver.Spec, progress driver.Progress) error {
	plan, size, err := d.planNew(ctx, vmid, s)
	if err != nil {
		return err
	}
	rules, err := d.keepRules(vmid)
	if err != nil {
		return err
	}
	if progress != nil {
		progress(0, size)
	}
	_, restoreErr := d.call(ctx, restoreTimeout, d.o.Pct, plan.args(vmid, s.Archive)...)
	made := restoreErr == nil
	if made {
		restoreErr = d.restored(ctx, vmid, plan)
		if errors.Is(restoreErr, driver.ErrNotFound) {
			restoreErr = errors.New("pct reported success, and there is no guest")
		}
		if now, err := d.readRules(vmid); err != nil || len(bytes.TrimSpace(now)) > 0 && !bytes.Equal(now, rules) {
			restoreErr = errors.Join(restoreErr, bringsRules(s.Archive))
		}
	}
	if restoreErr != nil {
		err := d.undo(ctx, vmid, plan, made, restoreErr)
		return errors.Join(err, d.putBackRules(ctx, vmid, rules))
	}
	if err := d.forgetRules(vmid); err != nil {
		return err
	}
	if progress != nil {
		progress(size, size)
	}
	return nil
}

// planNew returns the plan of a guest that does not exist yet, and the size of its
// archive, if nothing prevents it.
func (d *Driver) planNew(ctx context.Context, vmid int, s driver.Spec) (p *plan, size int64, err error) {
	if err := d.checkFree(ctx, vmid); err != nil {
		return nil, 0, err
	}
	conf, size, err := d.archive(ctx, s.Archive)
	if err != nil {
		return nil, 0, err
	}
	p, err = newPlan(vmid, s, conf)
	return p, size, errors.Join(err, d.checkBridge(p.bridge), d.checkLeftovers(ctx, vmid, p.storage))
}

// checkFree refuses a VMID that any guest has.
func (d *Driver) checkFree(ctx context.Context, vmid int) error {
	switch v, err := d.look(ctx, vmid); {
	case errors.Is(err, driver.ErrNotFound):
	case err != nil:
		return err
	case v.partial:
		return driver.Faultf(driver.ErrExists, "what is left of it has to be discarded first", "an interrupted restore left it")
	default:
		return driver.Faultf(driver.ErrExists, otherVMID, "it is %s", v.state)
	}
	return d.checkTaken(ctx, vmid)
}

// described reports whether a guest has the description that was asked for, if any.
func (p *plan) described(config *pctconf.Config) bool {
	want, given := p.options["description"]
	return !given || config.Description == strings.TrimSuffix(want, "\n")
}

// restored reads back the guest and compares it with the plan.
func (d *Driver) restored(ctx context.Context, vmid int, p *plan) error {
	config, _, err := d.config(ctx, vmid)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range pctconf.ReachingOut(config) {
		errs = append(errs, fmt.Errorf("it reaches out of the guest: %s %s", f.Key, f.Message))
	}
	if on, _ := config.Bool("unprivileged"); !on {
		errs = append(errs, errors.New("it is privileged"))
	}
	if unfinished(config) {
		errs = append(errs, errors.New("it is not finished"))
	}
	for _, key := range []string{"hostname", "cores", "memory", "swap", "onboot"} {
		if want, given := p.options[key]; given {
			if got, _ := config.Get(key); got != want {
				errs = append(errs, fmt.Errorf("%s is %q, want %q", key, got, want))
			}
		}
	}
	got, old, want := netOf(config), netOf(p.config), netOf(p.config)
	if value, given := p.options["net0"]; given {
		var err error
		if want, err = pctconf.ParseNet(value); err != nil {
			return err
		}
	}
	want.MAC = got.MAC
	if p.bridge != "" && (got.Bridge != p.bridge || got.MAC == "" || got.MAC == old.MAC) {
		errs = append(errs, fmt.Errorf("net0 has bridge %q and MAC %q, want bridge %q and a fresh MAC", got.Bridge, got.MAC, p.bridge))
	}
	if p.bridge != "" && got != want {
		errs = append(errs, fmt.Errorf("net0 is %q, want %q", got, want))
	}
	if !p.described(config) {
		errs = append(errs, fmt.Errorf("the description is %q, want %q", config.Description, p.options["description"]))
	}
	if len(errs) > 0 {
		return fmt.Errorf("pct reported success, and the guest is not what was asked for: %w", errors.Join(errs...))
	}
	return nil
}
