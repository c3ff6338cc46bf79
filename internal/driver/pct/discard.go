package pct

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// undo removes everything that a failed restore made. PVE cleans up itself, but
// not if its worker was killed, nor if it reports success. made is set if pct
// reported success, so that the guest is certainly the restore's.
func (d *Driver) undo(ctx context.Context, vmid int, p *plan, made bool, why error) error {
	if !made && isClass(why, driver.ErrExists, driver.ErrBusy) {
		return why // another command was faster; the guest belongs to it
	}
	ctx = context.WithoutCancel(ctx)
	err := d.awaitIdle(ctx, vmid, made)
	if err == nil {
		err = d.discardOwn(ctx, vmid, p, made)
	}
	if err != nil {
		err = fmt.Errorf("remove what is left of guest %d: %w", vmid, err)
	}
	return errors.Join(why, err)
}

// awaitIdle waits until no task works on the guest: the worker runs for a while
// after the end of pct.
func (d *Driver) awaitIdle(ctx context.Context, vmid int, made bool) error {
	ctx, cancel := context.WithTimeout(ctx, d.o.Clean)
	defer cancel()
	var busy string
	idle, err := d.poll(ctx, d.o.Clean/2, func() (bool, error) {
		w, err := d.tasks(ctx, vmid)
		if err != nil {
			return false, err
		}
		if busy = w.own; busy == "" && w.clone != "" && !made {
			_, _, err = d.config(ctx, vmid)
			if errors.Is(err, driver.ErrNotFound) {
				return true, nil
			}
			busy = w.clone
		}
		return busy == "", err
	})
	if err == nil && !idle {
		return driver.Faultf(driver.ErrBusy, "wait until that task has ended, then discard the guest", "after %s the task %s still works", d.o.Clean/2, busy)
	}
	return err
}

// discardOwn removes the restore's guest and volumes. A complete guest is its
// own if pct reported success, or if it has the description that was asked for.
func (d *Driver) discardOwn(ctx context.Context, vmid int, p *plan, made bool) error {
	ctx, cancel := context.WithTimeout(ctx, d.o.Clean)
	defer cancel()
	config, _, err := d.config(ctx, vmid)
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		return err
	}
	isOwn := made || config != nil && p.options["description"] != "" && p.described(config)
	if config != nil && !isOwn && !unfinished(config) {
		return driver.Faultf(driver.ErrExists, "", "%d is not this restore's, left alone", vmid)
	}
	return d.clear(ctx, vmid, p.storage, isOwn)
}

// clear removes guest vmid and what a restore of it left: what it mounted, then
// volumes that no configuration names yet, then the guest. If this is interrupted,
// the configuration still exists for the next try. storage is the one that had no
// volume of that VMID when the restore began; "" where that is not known. isOwn is of
// a guest that this driver certainly made: it may be protected, as a clone is at
// first.
func (d *Driver) clear(ctx context.Context, vmid int, storage string, isOwn bool) error {
	config, _, err := d.config(ctx, vmid)
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		return err
	}
	if config == nil || unfinished(config) {
		if err := d.unmount(ctx, vmid); err != nil {
			return err
		}
	}
	if err := d.freeVolumes(ctx, vmid, storage, config); err != nil {
		return err
	}
	if err := d.discardAny(ctx, vmid, isOwn); err != nil {
		return err
	}
	if config != nil { // what PVE did not free of the guest
		if err := d.freeVolumes(ctx, vmid, storage, nil); err != nil {
			return err
		}
	}
	if _, err := d.returnRules(vmid); err != nil {
		return err
	}
	return d.removeDirs(vmid)
}

// freeVolumes frees what a killed worker made and config does not name; config
// is nil if there is no guest. The restore began only when the storage had no
// volume of this VMID, so those that it has now are the restore's own; of other
// storages that is not known.
func (d *Driver) freeVolumes(ctx context.Context, vmid int, storage string, config *pctconf.Config) error {
	if storage == "" {
		return nil
	}
	volumes, err := d.volumes(ctx, vmid, storage)
	volumes = slices.DeleteFunc(volumes, func(v string) bool { return hasVolume(config, v) })
	if err != nil || len(volumes) == 0 {
		return err
	}
	taken := d.checkElsewhere
	if config == nil { // another guest of that VMID may be being made
		taken = d.checkTaken
	}
	if err := taken(ctx, vmid); err != nil {
		return fmt.Errorf("%s left alone: %w", strings.Join(volumes, ", "), err)
	}
	var errs []error
	for _, v := range volumes {
		_, err := d.call(ctx, changeTimeout, d.o.Pvesm, "free", v)
		errs = append(errs, err)
	}
	left, err := d.volumes(ctx, vmid, storage)
	left = slices.DeleteFunc(left, func(v string) bool { return hasVolume(config, v) })
	if err == nil && len(left) == 0 {
		return nil // regardless of pvesm's message
	}
	if len(left) > 0 {
		errs = append(errs, fmt.Errorf("still there: %s", strings.Join(left, ", ")))
	}
	return errors.Join(append(errs, err)...)
}

// hasVolume reports whether a configuration has the volume as one of its disks.
func hasVolume(config *pctconf.Config, volume string) bool {
	return config != nil && slices.ContainsFunc(config.Settings, func(s pctconf.Setting) bool {
		props, err := pctconf.ParseProperties(s.Value, "volume")
		return err == nil && props["volume"] == volume
	})
}

// Discard implements [driver.Hypervisor]. It also removes what a killed destroy
// left. Without a storage, volumes that a killed restore made and wrote into no
// configuration stay: their owner is not known, and the next Restore of that
// VMID names them.
func (d *Driver) Discard(ctx context.Context, vmid int, storage string) error {
	return wrap(vmid, "discard", d.discard(ctx, vmid, storage))
}

func (d *Driver) discard(ctx context.Context, vmid int, storage string) error {
	v, err := d.look(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	if err := v.checkTask(); err != nil {
		return err
	}
	if v.partial {
		return d.clear(ctx, vmid, storage, false)
	}
	return driver.Faultf(driver.ErrExists, "", "it is whole, not left by an interrupted restore")
}

// checkTask refuses a guest that a task works on, or may make.
func (v view) checkTask() error {
	switch {
	case v.partial && v.clone != "":
		return driver.Faultf(driver.ErrBusy, "wait until that task has ended", "the task %s is a clone, and it may be what that one makes", v.clone)
	case !v.partial && unfinished(v.config):
		return driver.Faultf(driver.ErrBusy, "wait for that task", "a task still works on it")
	}
	return nil
}

// discardAny removes guest vmid, locked or not, with the volumes that its
// configuration names. PVE could free all others of this VMID too, but on all
// storages, whoever made them: see clear. PVE destroys no locked guest. A guest
// that it refuses to destroy without its lock gets the lock back, because it
// must not look complete afterwards. isOwn also removes a protected guest.
func (d *Driver) discardAny(ctx context.Context, vmid int, isOwn bool) error {
	config, _, err := d.config(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	id := strconv.Itoa(vmid)
	if lock, locked := config.Get("lock"); locked {
		if _, err := d.pct(ctx, "unlock", id); err != nil && !strings.Contains(err.Error(), "no lock found") {
			return fmt.Errorf("take the lock %s away: %w", lock, err)
		}
	}
	if isOwn && on(config, "protection") { // of a template, whose clone it is
		if _, err := d.pct(ctx, "set", id, "--protection", "0"); err != nil {
			return fmt.Errorf("end its protection: %w", err)
		}
	}
	_, err = d.pct(ctx, "destroy", id)
	err = d.gone(ctx, vmid, err)
	if lock, locked := config.Get("lock"); locked && err != nil {
		_, lockErr := d.pct(ctx, "set", id, "--lock", lock)
		err = errors.Join(err, lockErr)
	}
	return err
}
