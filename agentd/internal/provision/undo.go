package provision

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// undoLimit bounds an undo, which continues when the run was interrupted.
const undoLimit = 5 * time.Minute

// undo rolls back what the journal names, the last first. If that fails, it
// keeps the journal for guest remove.
func (r *run) undo(ctx context.Context) error {
	if r.journal == nil {
		return nil
	}
	if r.stays {
		// It may have been in use for days: an undo must not do what needs
		// --force of an operator.
		r.p.options.Observer.Started(r.job.VMID, StepUndo)
		r.p.options.Observer.Ended(r.job.VMID, StepUndo, StepResult{
			Word: "skipped", Detail: fmt.Sprintf("the guest that an earlier run made stays; felhom-agentd guest remove --force %d removes it", r.job.VMID),
		})
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	err := r.p.step(r.job.VMID, StepUndo, func() (StepResult, error) { return StepResult{}, r.p.rollBack(ctx, r.journal) })
	if err != nil {
		return fault.WrapHint(fault.Failed, fmt.Errorf("undo: %w", err), fmt.Sprintf("felhom-agentd guest remove --force %d, when what prevents it is gone", r.job.VMID))
	}
	return nil
}

func (p *Provisioner) rollBack(ctx context.Context, j *journal) error {
	if j.Restoring {
		if err := p.destroy(ctx, j, 0); err != nil {
			return err
		}
	}
	var all []error
	switch {
	case j.NewMount:
		all = append(all, p.options.Mounts.Remove(j.VMID))
	case j.NewRecord && j.Mounted:
		all = append(all, p.options.Mounts.RemoveFile(j.VMID, configmount.BootstrapFile)) // the rest existed before
	}
	switch {
	case j.NewRecord:
		all = append(all, p.options.Store.Replace(ctx, j.VMID, nil), p.options.Store.RemoveReports(j.VMID))
	case j.NewMount || !j.Mounted:
		// The new token is in no mount.
		all = append(all, p.options.Store.Replace(ctx, j.VMID, j.Before))
	default:
		// The directory existed before and has the new token now; the previous
		// token has its overlap.
		before := cmp.Or(j.Before, &guests.Record{})
		all = append(all, p.options.Store.Update(ctx, j.VMID, func(r *guests.Record) error {
			r.Provisioned = nil
			r.ControllerImage, r.Asked = before.ControllerImage, before.Asked
			return nil
		}))
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	return p.journals.remove(j.VMID)
}

// destroy removes the guest that has the journal's ID, partial or complete; a running one gets
// grace to shut down. It leaves any other guest.
func (p *Provisioner) destroy(ctx context.Context, j *journal, grace time.Duration) error {
	vmid, id := j.VMID, j.ID
	g, err := p.options.Hypervisor.Guest(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil
	case err != nil:
		return err
	case j.Cloning && (IDOf(g.Description) == id || g.Partial && g.Description == ""):
		return p.discardClone(ctx, g, j)
	case g.Partial:
		return p.options.Hypervisor.Discard(ctx, vmid, j.Storage)
	case isBeingMade(g, id):
		return busy(g)
	case IDOf(g.Description) != id:
		return nil
	}
	if g.State == driver.Running {
		if err := p.options.Hypervisor.Shutdown(ctx, vmid, grace); err != nil && !errors.Is(err, driver.ErrNotRunning) {
			return err
		}
	}
	return p.options.Hypervisor.Destroy(ctx, vmid)
}

// discardClone removes what an interrupted clone left of the journal's guest, which
// may be complete, but protected and without its settings.
func (p *Provisioner) discardClone(ctx context.Context, g driver.Guest, j *journal) error {
	c, err := p.cloner()
	if err != nil {
		return err
	}
	return c.DiscardClone(ctx, g.VMID, g.Description, j.Storage)
}
