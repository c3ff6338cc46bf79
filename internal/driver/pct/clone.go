package pct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// cloning are the types of storage whose plugins make linked clones of containers.
var cloning = []string{"zfspool", "lvmthin", "rbd", "btrfs"}

// ArchivePath implements [driver.Cloner].
func (d *Driver) ArchivePath(ctx context.Context, archive string) (string, error) {
	return d.path(ctx, archive)
}

// CanClone implements [driver.Cloner].
func (d *Driver) CanClone(ctx context.Context, s driver.Spec) error {
	conf, _, err := d.archive(ctx, s.Archive)
	if err != nil {
		return err
	}
	plan, err := newPlan(vzdump.MinVMID, s, conf)
	if err != nil {
		return err
	}
	return d.canClone(ctx, plan)
}

func (d *Driver) canClone(ctx context.Context, p *plan) error {
	st, err := d.storage(ctx, p.storage)
	if err != nil {
		return err
	}
	const hint = "name a storage of type zfspool, lvmthin, rbd or btrfs; or set provision.clone: auto or never"
	archived := rootSize(p.config)
	switch {
	case !slices.Contains(cloning, st.Type):
		return driver.Faultf(driver.ErrNoClone, hint, "storage %s (%s) cannot make linked clones", p.storage, st.Type)
	case archived == 0:
		return driver.Faultf(driver.ErrNoClone, "bake the image with a size", "the archive does not say the size of its root file system")
	case p.bytes < archived:
		return driver.Faultf(driver.ErrNoClone, "ask for a larger root file system, or restore: provision.clone: auto or never",
			"a root file system of %s GiB is smaller than that of the golden image, and clones do not shrink", p.size)
	}
	return nil
}

// Clone implements [driver.Cloner]. PVE copies the whole configuration of the
// template; settle makes it what a restore would have made it.
func (d *Driver) Clone(ctx context.Context, t driver.Template, vmid int, s driver.Spec, p driver.Progress) error {
	return wrap(vmid, fmt.Sprintf("clone template %d", t.VMID), d.clone(ctx, t, vmid, s, p))
}

func (d *Driver) clone(ctx context.Context, t driver.Template, vmid int, s driver.Spec, progress driver.Progress) error {
	if s.Description == "" {
		return driver.Faultf(driver.ErrRefused, "", "a clone without a description would have that of its template")
	}
	plan, size, err := d.planNew(ctx, vmid, s)
	if err != nil {
		return err
	}
	if err := errors.Join(d.canClone(ctx, plan), d.checkTemplate(ctx, t, plan)); err != nil {
		return err
	}
	rules, err := d.keepRules(vmid)
	if err != nil {
		return err
	}
	if progress != nil {
		progress(0, size)
	}
	_, cloneErr := d.call(ctx, changeTimeout, d.o.Pct, "clone", strconv.Itoa(t.VMID), strconv.Itoa(vmid), "--full=0", "--description="+s.Description)
	made := cloneErr == nil
	if made {
		cloneErr = d.cloned(ctx, vmid, plan)
		if now, err := d.readRules(vmid); err != nil || !bytes.Equal(now, rules) {
			cloneErr = errors.Join(cloneErr, err, d.putBack(vmid, rules))
		}
	}
	if cloneErr != nil {
		err := d.undo(ctx, vmid, plan, made, cloneErr)
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

// checkTemplate refuses a guest that is not the finished template t, or one that
// gives its clones more than the archive would.
func (d *Driver) checkTemplate(ctx context.Context, t driver.Template, p *plan) error {
	config, err := d.marked(ctx, t.VMID, t.Description)
	switch {
	case isClass(err, driver.ErrExists, driver.ErrNotFound): // to a caller, these are about the new guest
		return driver.Faultf(driver.ErrNoClone, "felhom-agentd template list", "template %d: %s", t.VMID, err)
	case err != nil:
		return fmt.Errorf("template %d: %w", t.VMID, err)
	}
	refuse := func(format string, args ...any) error {
		return driver.Faultf(driver.ErrNoClone, "felhom-agentd template list", "template %d: %s", t.VMID, fmt.Sprintf(format, args...))
	}
	rules, err := d.readRules(t.VMID)
	switch {
	case err != nil:
		return err
	case !isFinished(config):
		return refuse("it is not a finished template")
	case pctconf.RootStorage(config) != p.storage:
		return refuse("its disk is on storage %s, want %s", pctconf.RootStorage(config), p.storage)
	case !isBase(rootVolume(config)):
		return refuse("its disk %s is not a base volume", rootVolume(config))
	case rootSize(config) > p.bytes:
		return refuse("its root file system is larger than that of the guest, and clones do not shrink")
	case len(bytes.TrimSpace(rules)) > 0:
		return refuse("it has firewall rules, which PVE gives to each clone")
	case len(config.Mounts()) > 0:
		return refuse("it has mount points")
	}
	return d.calm(ctx, t.VMID)
}

// cloned gives a new clone its settings and reads it back.
func (d *Driver) cloned(ctx context.Context, vmid int, p *plan) error {
	if err := d.settle(ctx, vmid, p); err != nil {
		return err
	}
	return d.restored(ctx, vmid, p)
}

// DiscardClone implements [driver.Cloner].
func (d *Driver) DiscardClone(ctx context.Context, vmid int, description, storage string) error {
	return wrap(vmid, "discard clone", d.discardClone(ctx, vmid, description, storage))
}

func (d *Driver) discardClone(ctx context.Context, vmid int, description, storage string) error {
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
	switch {
	case v.partial && v.config.Description != "" && v.config.Description != description:
		return driver.Faultf(driver.ErrExists, "", "it is another's, left alone")
	case v.partial:
	case description == "" || v.config.Description != description:
		return driver.Faultf(driver.ErrExists, "", "it is whole, not left by an interrupted clone")
	case v.state == driver.Running:
		return driver.Faultf(driver.ErrRunning, "shut it down first", "its state is %s", v.state)
	}
	return d.clear(ctx, vmid, storage, true)
}
