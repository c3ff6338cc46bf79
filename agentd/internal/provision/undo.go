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

// undoLimit bounds an undo, which goes on when the run was interrupted.
const undoLimit = 5 * time.Minute

// undo takes back what the journal tells of, the last first. It keeps the
// journal when that did not work, for guest remove.
func (m *making) undo(ctx context.Context) error {
	if m.j == nil {
		return nil
	}
	if m.stays {
		// It may have been in use for days: what an operator must say --force
		// to is not done on the way.
		m.o.Observer.Started(m.job.VMID, StepUndo)
		m.o.Observer.Ended(m.job.VMID, StepUndo, "skipped",
			fmt.Sprintf("the guest that an earlier run made stays; felhom-agentd guest remove --force %d takes it back", m.job.VMID))
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	err := m.o.step(m.job.VMID, StepUndo, func() (string, string, error) { return "done", "", m.o.takeBack(ctx, m.j) })
	if err != nil {
		return fault.WrapHint(fault.Failed, fmt.Errorf("undo: %w", err), fmt.Sprintf("felhom-agentd guest remove --force %d, when what is in the way is gone", m.job.VMID))
	}
	return nil
}

func (o Options) takeBack(ctx context.Context, j *journal) error {
	if j.Restoring {
		if err := o.destroy(ctx, j, 0); err != nil {
			return err
		}
	}
	var all []error
	switch {
	case j.NewMount:
		all = append(all, o.Mounts.Remove(j.VMID))
	case j.NewRecord && j.Mounted:
		all = append(all, o.Mounts.RemoveFile(j.VMID, configmount.BootstrapFile)) // the rest was there before
	}
	switch {
	case j.NewRecord:
		all = append(all, o.Store.Replace(ctx, j.VMID, nil), o.Store.RemoveReports(j.VMID))
	case j.NewMount || !j.Mounted:
		// Nobody has the new token.
		all = append(all, o.Store.Replace(ctx, j.VMID, j.Before))
	default:
		// The folder that was there holds the new token now; the one before
		// has its overlap.
		all = append(all, o.Store.Update(ctx, j.VMID, func(r *guests.Record) error {
			r.Provisioned = nil
			if j.Before != nil {
				r.ControllerImage = j.Before.ControllerImage
			}
			return nil
		}))
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	return o.removeJournal(j.VMID)
}

// destroy removes the guest that has the journal's ID, half or whole, with grace for one
// that runs. Somebody else's is left alone.
func (o Options) destroy(ctx context.Context, j *journal, grace time.Duration) error {
	vmid, id := j.VMID, j.ID
	g, err := o.Hypervisor.Guest(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil
	case err != nil:
		return err
	case g.Half:
		return o.Hypervisor.Discard(ctx, vmid, j.Storage)
	case isBeingMade(g, id):
		return busy(g)
	case idOf(g.Description) != id:
		return nil
	}
	if g.State == driver.Running {
		if err := o.Hypervisor.Shutdown(ctx, vmid, grace); err != nil && !errors.Is(err, driver.ErrNotRunning) {
			return err
		}
	}
	return o.Hypervisor.Destroy(ctx, vmid)
}
