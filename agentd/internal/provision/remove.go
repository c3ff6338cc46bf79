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

// shutdownGrace is how long a guest may take to shut down.
const shutdownGrace = time.Minute

// Removed is what Remove removed.
type Removed struct {
	Guest  bool // with its disks
	Record bool
}

// ErrKnownNothing is the error if nothing of that VMID exists.
var ErrKnownNothing = errors.New("felhom-agentd knows no guest of that VMID")

// Remove removes all that was made for the guest: the guest itself if
// provisioning made it, its mount, its token, its reports. It refuses a running
// guest unless force is set, which shuts it down. It finishes an interrupted
// removal, and removes what an interrupted provisioning left.
func (p *Provisioner) Remove(ctx context.Context, vmid int, force bool) (_ Removed, err error) {
	unlock, err := p.journals.claim(ctx, vmid, claimPatience)
	if err != nil {
		return Removed{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := p.checkHere(vmid); err != nil {
		return Removed{}, err
	}
	j, err := p.journals.read(vmid)
	if err != nil {
		return Removed{}, err
	}
	record, err := p.options.Store.Get(vmid)
	isKnown := err == nil
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		return Removed{}, err
	}
	if !isKnown && j == nil && !p.options.Mounts.Exists(vmid) {
		// A removal that ended after the record was removed left them.
		if err := p.removeFiles(vmid); err != nil {
			return Removed{}, err
		}
		return Removed{}, fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d: %w", vmid, ErrKnownNothing), "felhom-agentd guest list shows those it knows")
	}
	id := ""
	switch {
	case j != nil:
		id = j.ID
	case record.Provisioned != nil:
		id = record.Provisioned.ID
	}
	removed := Removed{Record: isKnown}
	if err := p.release(ctx, vmid, id, isKnown && record.Provisioned != nil); err != nil {
		return Removed{}, err
	}
	if id != "" {
		if removed.Guest, err = p.removeGuest(ctx, vmid, id, j, force); err != nil {
			return Removed{}, err
		}
	}
	err = errors.Join(p.options.Mounts.Remove(vmid), p.options.Store.Replace(ctx, vmid, nil), p.removeFiles(vmid))
	if err != nil {
		return removed, err
	}
	if err := p.journals.remove(vmid); err != nil {
		return removed, err
	}
	if isKnown && record.Provisioned != nil {
		if err := p.releaseTemplate(ctx, record.Provisioned.Template); err != nil {
			p.options.Observer.Note(vmid, StepUndo, fmt.Sprintf("template %d stays: %v", record.Provisioned.Template, err))
		}
	}
	return removed, nil
}

// removeFiles removes what the store has of a guest beside its record.
func (p *Provisioner) removeFiles(vmid int) error {
	return errors.Join(p.options.Store.RemoveReports(vmid), p.options.Store.SweepSecrets(vmid))
}

// release handles a guest that stays because its ID is not provision's: it
// detaches the mount, whose directory will be removed, and reports a guest that
// provision made but whose ID is missing.
func (p *Provisioner) release(ctx context.Context, vmid int, id string, wasMade bool) error {
	g, err := p.options.Hypervisor.Guest(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil
	case errors.Is(err, driver.ErrNotReady) && id == "":
		return nil // a host that only serves guests may have no hypervisor to ask
	case err != nil:
		return err
	case g.Partial, id != "" && IDOf(g.Description) == id:
		return nil
	case wasMade && p.isAttached(g):
		return fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d (%s) was made by felhom-agentd, and its description no longer says so", vmid, g.Hostname),
			fmt.Sprintf("put the line %q back into its notes; or remove the guest itself, then run this again", marker+id))
	case p.isAttached(g):
		if err := p.options.Hypervisor.Detach(ctx, vmid, configmount.Target); err != nil {
			return fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d (%s) still has its mount: %w", vmid, g.Hostname, err), "shut the guest down, then run this again")
		}
	}
	return nil
}

// removeGuest removes the guest that has the ID, and reports whether it existed.
func (p *Provisioner) removeGuest(ctx context.Context, vmid int, id string, j *journal, force bool) (bool, error) {
	g, err := p.options.Hypervisor.Guest(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case j != nil && j.Restoring && isBeingMade(g, id):
		return false, busy(g)
	case g.Partial && IDOf(g.Description) != id && (j == nil || !j.Restoring), !g.Partial && IDOf(g.Description) != id:
		return false, nil // provision did not make it
	case g.State == driver.Running && !force:
		return false, fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d (%s): %w", vmid, g.Hostname, driver.ErrRunning),
			"its disks would be removed with it: stop it first, or add --force")
	}
	// If this process ends, the next run must finish the removal and not start
	// a new guest.
	before := j
	if j == nil {
		j = &journal{VMID: vmid, ID: id, Started: p.options.Now().UTC().Truncate(time.Second)}
	}
	removing := *j
	removing.Removing, removing.Restoring = true, true
	if err := p.journals.write(&removing); err != nil {
		return false, err
	}
	if err := p.destroy(ctx, &removing, shutdownGrace); err != nil {
		return false, errors.Join(err, p.notRemoved(ctx, vmid, id, before))
	}
	return true, nil
}

// lockDestroyed is the hypervisor's lock of a guest whose removal has started.
const lockDestroyed = "destroyed"

// notRemoved restores the journal from before a removal that the hypervisor
// refused: as long as the guest is complete, there is nothing to finish.
func (p *Provisioner) notRemoved(ctx context.Context, vmid int, id string, before *journal) error {
	g, err := p.options.Hypervisor.Guest(context.WithoutCancel(ctx), vmid)
	if isWhole := err == nil && !g.Partial && g.Lock != lockDestroyed && IDOf(g.Description) == id; !isWhole {
		return nil // the next removal continues from what is left
	}
	if before == nil || before.Golden == "" { // it was only a removal's
		return p.journals.remove(vmid)
	}
	before.Removing = false
	return p.journals.write(before)
}
