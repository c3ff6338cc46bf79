package pct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// Restore implements [driver.Hypervisor]. It never forces, never starts and
// never mounts: forced, PVE loses the old guest when the restore fails; asked
// to start, it hides that the start failed; and a mount would be written to.
// PVE does not tell how far it is: p hears of beginning and end.
func (d *Driver) Restore(ctx context.Context, vmid int, s driver.Spec, p driver.Progress) error {
	return wrap(vmid, "restore", d.restore(ctx, vmid, s, p))
}

func (d *Driver) restore(ctx context.Context, vmid int, s driver.Spec, progress driver.Progress) error {
	switch v, err := d.look(ctx, vmid); {
	case errors.Is(err, driver.ErrNotFound):
	case err != nil:
		return err
	case v.half:
		return refuse(driver.ErrExists, "what is left of it has to be discarded first", "an interrupted restore left it")
	default:
		return refuse(driver.ErrExists, otherVMID, "it is %s", v.Status)
	}
	if err := d.checkTaken(vmid); err != nil {
		return err
	}
	conf, size, err := d.archive(ctx, s.Archive)
	if err != nil {
		return err
	}
	plan, err := newPlan(vmid, s, conf)
	if err := errors.Join(err, d.checkBridge(plan.bridge), d.checkLeftovers(ctx, vmid, plan.storage)); err != nil {
		return err
	}
	if progress != nil {
		progress(0, size)
	}
	rules := d.firewall(vmid)
	_, restoreErr := d.call(ctx, restoreTimeout, d.o.Pct, plan.args(vmid, s.Archive)...)
	made := restoreErr == nil
	if made {
		restoreErr = d.restored(ctx, vmid, plan)
		if errors.Is(restoreErr, driver.ErrNotFound) {
			restoreErr = errors.New("pct reported success, and there is no guest")
		}
		if now := d.firewall(vmid); now != "" && now != rules {
			restoreErr = errors.Join(restoreErr, refuse(driver.ErrArchive, "empty ./etc/vzdump/pct.fw of the archive, and set the rules on the node",
				"%s: it brings firewall rules, which PVE made the guest's", s.Archive))
		}
	}
	if restoreErr != nil {
		return d.undo(ctx, vmid, plan, made, restoreErr)
	}
	if progress != nil {
		progress(size, size)
	}
	return nil
}

// firewall returns the guest's firewall rules, "" if it has none.
func (d *Driver) firewall(vmid int) string {
	data, err := readLimited(filepath.Join(d.o.PVEDir, "firewall", strconv.Itoa(vmid)+".fw"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err.Error() // too large, or not readable: not what was there
	}
	return strings.TrimSpace(string(data))
}

// described says whether a guest has the description that was asked for, if any.
func (p *plan) described(config *pctconf.Config) bool {
	want, given := p.options["description"]
	return !given || config.Description == strings.TrimSuffix(want, "\n")
}

// restored reads back what became of the guest.
func (d *Driver) restored(ctx context.Context, vmid int, p *plan) error {
	config, _, err := d.config(ctx, vmid)
	if err != nil {
		return err
	}
	var errs []error
	for _, why := range reaching(config) {
		errs = append(errs, fmt.Errorf("it reaches out of the guest: %s", why))
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
				errs = append(errs, fmt.Errorf("%s is %q, wanted %q", key, got, want))
			}
		}
	}
	got, old := netOf(config), netOf(p.config)
	if p.bridge != "" && (got.Bridge != p.bridge || got.MAC == "" || got.MAC == old.MAC) {
		errs = append(errs, fmt.Errorf("net0 has bridge %q and MAC %q, wanted bridge %q and a fresh MAC", got.Bridge, got.MAC, p.bridge))
	}
	if !p.described(config) {
		errs = append(errs, fmt.Errorf("the description is %q, wanted %q", config.Description, p.options["description"]))
	}
	if len(errs) > 0 {
		return fmt.Errorf("pct reported success, and the guest is not what was asked for: %w", errors.Join(errs...))
	}
	return nil
}

// undo leaves nothing of a restore that failed. PVE cleans up itself, but not
// when its worker was killed, nor when it believes that all went well. made
// says that pct reported success, so that the guest is surely the restore's.
func (d *Driver) undo(ctx context.Context, vmid int, p *plan, made bool, why error) error {
	if isClass(why, driver.ErrExists, driver.ErrBusy) {
		return why // somebody else was faster; the guest is theirs
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

// awaitIdle waits until no task works on the guest: the worker lives on for a
// while when pct was ended.
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
		return refuse(driver.ErrBusy, "wait until that task has ended, then discard the guest", "after %s the task %s still works", d.o.Clean/2, busy)
	}
	return err
}

// discardOwn removes the restore's guest and volumes. A whole guest is its own
// when pct said so, or when it has the very description that was asked for.
func (d *Driver) discardOwn(ctx context.Context, vmid int, p *plan, made bool) error {
	ctx, cancel := context.WithTimeout(ctx, d.o.Clean)
	defer cancel()
	config, _, err := d.config(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
	case err != nil:
		return err
	case !made && !unfinished(config) && (p.options["description"] == "" || !p.described(config)):
		return refuse(driver.ErrExists, "", "%d is somebody else's, left alone", vmid)
	}
	if err := d.discardAny(ctx, vmid); err != nil {
		return err
	}
	return d.freeVolumes(ctx, vmid, p.storage)
}

// freeVolumes frees what a killed worker made and no configuration names yet.
// The restore began only when the storage had no volume of this VMID, so those
// that it has now are the restore's own; of other storages nobody knows that.
func (d *Driver) freeVolumes(ctx context.Context, vmid int, storage string) error {
	volumes, err := d.volumes(ctx, vmid, storage)
	if err != nil || len(volumes) == 0 {
		return err
	}
	if err := d.checkTaken(vmid); err != nil { // somebody makes another guest of that VMID now
		return fmt.Errorf("%s left alone: %w", strings.Join(volumes, ", "), err)
	}
	var errs []error
	for _, v := range volumes {
		_, err := d.call(ctx, changeTimeout, d.o.Pvesm, "free", v)
		errs = append(errs, err)
	}
	left, err := d.volumes(ctx, vmid, storage)
	if err == nil && len(left) == 0 {
		return nil // whatever pvesm said
	}
	if len(left) > 0 {
		errs = append(errs, fmt.Errorf("still there: %s", strings.Join(left, ", ")))
	}
	return errors.Join(append(errs, err)...)
}

// Discard implements [driver.Hypervisor]. It also removes what a killed
// destroy left. Volumes that a killed restore made and wrote into no
// configuration stay: nobody knows whose they are, and the next Restore of
// that VMID names them.
func (d *Driver) Discard(ctx context.Context, vmid int) error {
	return wrap(vmid, "discard", d.discard(ctx, vmid))
}

func (d *Driver) discard(ctx context.Context, vmid int) error {
	v, err := d.look(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil
	case err != nil:
		return err
	case v.half && v.clone != "":
		return refuse(driver.ErrBusy, "wait until that task has ended", "the task %s is a clone, and it may be what that one makes", v.clone)
	case v.half:
		return d.discardAny(ctx, vmid)
	case unfinished(v.config):
		return refuse(driver.ErrBusy, "wait for that task", "a task still works on it")
	}
	return refuse(driver.ErrExists, "", "it is whole, not left by an interrupted restore")
}

// discardAny removes guest vmid, locked or not, with the volumes that its
// configuration names. PVE could free all others of this VMID too, but on all
// storages, whoever made them: see freeVolumes. PVE destroys no locked guest;
// one that it refuses to destroy without its lock gets the lock back, as it
// must not look whole afterwards.
func (d *Driver) discardAny(ctx context.Context, vmid int) error {
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
	_, err = d.pct(ctx, "destroy", id)
	err = d.gone(ctx, vmid, err)
	if lock, locked := config.Get("lock"); locked && err != nil {
		_, lockErr := d.pct(ctx, "set", id, "--lock", lock)
		err = errors.Join(err, lockErr)
	}
	return err
}
