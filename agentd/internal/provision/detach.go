package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Purposes returns what a guest can be detached for: what PVE refuses with a
// mount of a directory of the host.
func Purposes() []string { return []string{"snapshot", "rollback", "clone", "template", "migration"} }

// DetachFor shuts guest vmid down if it runs, and ends its config mount.
// [Provisioner.Resume] makes both good. The guest must be known. It is safe to
// repeat, and after a kill at any point the next call, or Resume, continues.
func (p *Provisioner) DetachFor(ctx context.Context, vmid int, purpose string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, changeLimit+shutdownGrace)
	defer cancel()
	unlock, err := Claim(ctx, p.options.StateDir, vmid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := p.checkHere(vmid); err != nil {
		return err
	}
	g, err := p.options.Hypervisor.Guest(ctx, vmid)
	if err != nil {
		return err
	}
	if err := p.checkMount(g); err != nil {
		return err
	}
	// It is noted first: who is killed after the shutdown must not leave a guest
	// that no command starts again.
	err = p.updateKnown(ctx, vmid, func(r *guests.Record) error {
		was := r.Detached != nil && r.Detached.WasRunning
		r.Detached = &guests.Detached{For: purpose, At: p.options.Now().UTC().Truncate(time.Second), WasRunning: was || g.State == driver.Running}
		return nil
	})
	if err != nil {
		return err
	}
	if g.State == driver.Running {
		if err := p.options.Hypervisor.Shutdown(ctx, vmid, shutdownGrace); err != nil && !errors.Is(err, driver.ErrNotRunning) {
			return err
		}
	}
	return p.options.Hypervisor.Detach(ctx, vmid, configmount.Target)
}

// updateKnown changes the record of a guest, which must have one.
func (p *Provisioner) updateKnown(ctx context.Context, vmid int, change func(*guests.Record) error) error {
	return unknownGuest(vmid, p.options.Store.Update(ctx, vmid, func(r *guests.Record) error {
		if r.Version == 0 {
			return guests.ErrNotFound
		}
		return change(r)
	}))
}

// checkMount returns an error if something else than the guest's own directory is
// mounted at the place of the config mount.
func (p *Provisioner) checkMount(g driver.Guest) error {
	source := p.options.Mounts.Path(g.VMID)
	for _, m := range g.Mounts {
		if m.Target == configmount.Target && m.Source != source {
			return fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d has %s mounted at %s, want %s", g.VMID, m.Source, m.Target, source),
				"felhom-agentd did not make that mount; remove it with the hypervisor's own tools")
		}
	}
	return nil
}

// Resumed is what Resume did.
type Resumed struct {
	Source  string // directory of the mount on this host
	Renewed bool   // the guest has a new token, and all others have ended
	Started bool
}

// IsDetached reports whether guest vmid was detached by DetachFor.
func (p *Provisioner) IsDetached(vmid int) (bool, error) {
	record, err := p.options.Store.Get(vmid)
	if errors.Is(err, guests.ErrNotFound) {
		return false, nil
	}
	return record.Detached != nil, err
}

// Resume attaches the config mount of a guest that DetachFor has detached, and
// starts the guest if it ran. Before that the guest gets a new token and all
// others end, because a snapshot, a clone or a template has a copy of what the
// guest knew. It is safe to repeat.
func (p *Provisioner) Resume(ctx context.Context, vmid int) (done Resumed, err error) {
	record, err := p.options.Store.Get(vmid)
	if err != nil {
		return done, unknownGuest(vmid, err)
	}
	if record.IsRevoked() {
		return done, fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d: its tokens were revoked", vmid),
			fmt.Sprintf("felhom-agentd guest rotate %d gives it a new one, if it is to be trusted again", vmid))
	}
	if record.Detached != nil {
		if _, err := p.Register(ctx, vmid); err != nil {
			return done, err
		}
		done.Renewed = true
		if err := p.updateKnown(ctx, vmid, func(r *guests.Record) error { r.EndOthers(p.options.Now()); return nil }); err != nil {
			return done, err
		}
	}
	if done.Source, err = p.Attach(ctx, vmid); err != nil || record.Detached == nil {
		return done, err
	}
	if record.Detached.WasRunning {
		switch err := p.options.Hypervisor.Start(ctx, vmid); {
		case errors.Is(err, driver.ErrRunning):
		case err != nil:
			return done, err
		default:
			done.Started = true
		}
	}
	return done, p.updateKnown(ctx, vmid, func(r *guests.Record) error { r.Detached = nil; return nil })
}
