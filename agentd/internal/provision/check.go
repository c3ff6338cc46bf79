package provision

import (
	"context"
	"errors"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Check returns what Provision would do with the job, and everything that would
// make its first step fail, joined. It changes nothing.
func (p *Provisioner) Check(ctx context.Context, job Job) (Outcome, error) {
	r, err := p.look(ctx, job)
	if err != nil {
		return "", err
	}
	j, g := r.journal, r.guest
	if !r.exists || j != nil {
		if r.exists = r.exists && !g.Partial; r.exists && IDOf(g.Description) != j.ID {
			return "", taken(g)
		}
		_, err := r.check(ctx)
		if j != nil {
			return Finished, err
		}
		return Provisioned, err
	}
	if err := r.isOwn(); err != nil {
		return "", errors.Join(err, r.ask())
	}
	last, err := p.progress(job.VMID)
	if err != nil {
		return "", err
	}
	r.isUpdate, r.last = true, last
	_, err = r.check(ctx)
	if err := errors.Join(compare(job.given(), g), err); err != nil {
		return "", err
	}
	switch {
	case r.isStale || r.needsAttach():
		return Updated, nil
	case r.needsStart():
		return Started, nil
	}
	return Unchanged, nil
}

// CheckBootstrap returns what is wrong with the bootstrap.json that every new
// guest would get.
func (p *Provisioner) CheckBootstrap() error {
	boot, err := p.options.Bootstrap(contract.MinGuestID, Asked{})
	if err != nil {
		return err
	}
	_, err = encoded(boot)
	return fault.Wrap(fault.Invalid, err)
}

// isOwn refuses a guest that no job made, and that a change does not know.
func (r *run) isOwn() error {
	g := r.guest
	record, err := r.p.options.Store.Get(g.VMID)
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		return err
	}
	if r.isOther = r.job.IsChange && err == nil && record.Provisioned == nil && !g.Partial; r.isOther {
		return nil
	}
	if err != nil || record.Provisioned == nil || record.Provisioned.ID != IDOf(g.Description) || g.Partial {
		return taken(g)
	}
	return nil
}
