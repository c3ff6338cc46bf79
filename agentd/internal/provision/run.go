package provision

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Result is the result of Provision.
type Result struct {
	Outcome Outcome
	// After is the last run that the guest had reported before this job: a run
	// after it has another ID. "" accepts any run.
	After string
	// Last is what an unchanged guest had reported before, if it was after its mount
	// was written last; nil: nothing.
	Last *guests.Progress
	// Guest is the guest as it was seen last, and Bootstrap its bootstrap.json
	// without the token.
	Guest     driver.Guest
	Bootstrap contract.Bootstrap
}

// Provision makes the guest of the job, finishes what an interrupted run
// started, or brings an existing guest of an earlier job to what this one asks
// for. If a step fails, all steps before it are undone.
func (p *Provisioner) Provision(ctx context.Context, job Job) (_ Result, err error) {
	if p.options.IsLookOnly {
		return Result{}, errors.New("the local API has no address that the guest could be told")
	}
	unlock, err := p.journals.claim(ctx, job.VMID, claimPatience)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, p.sweep(job.VMID), unlock()) }()
	r, err := p.look(ctx, job)
	if err != nil {
		return Result{}, err
	}
	switch {
	case r.journal == nil && r.exists:
		return r.update(ctx)
	case r.journal != nil:
		r.outcome = Finished
		if err := r.repair(ctx); err != nil {
			return Result{}, err
		}
	default:
		r.outcome = Provisioned
	}
	if err := r.steps(ctx); err != nil {
		return Result{}, errors.Join(err, r.undo(ctx))
	}
	if !r.isUpdate {
		// A holder of another token of this VMID is not the guest that was created.
		err := p.options.Store.Update(ctx, job.VMID, func(g *guests.Record) error {
			g.EndOthers(p.options.Now())
			return nil
		})
		if err != nil {
			return r.result(r.journal.After), err // the journal stays: the next run does it
		}
	}
	return r.result(r.journal.After), p.journals.remove(job.VMID)
}

// look returns the run of the job with what an earlier run left: its journal and
// its guest. A guest whose removal was interrupted is an error.
func (p *Provisioner) look(ctx context.Context, job Job) (*run, error) {
	j, err := p.journals.read(job.VMID)
	if err != nil {
		return nil, err
	}
	if j != nil && j.Removing {
		return nil, fault.WrapHint(fault.Invalid, errors.New("its removal was interrupted"), fmt.Sprintf("felhom-agentd guest remove %d finishes it", job.VMID))
	}
	g, err := p.options.Hypervisor.Guest(ctx, job.VMID)
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		return nil, err
	}
	r := &run{p: p, job: job, journal: j, guest: g, exists: err == nil}
	switch {
	case !job.IsChange:
	case j != nil:
		return nil, fault.WrapHint(fault.Invalid, errors.New("its provisioning was interrupted"), fmt.Sprintf("felhom-agentd provision --vmid %d finishes it", job.VMID))
	case !r.exists:
		return nil, fault.WrapHint(fault.NotFound, errors.New("there is no such guest to change"), fmt.Sprintf("felhom-agentd provision --vmid %d makes it", job.VMID))
	}
	return r, nil
}

func (r *run) result(after string) Result {
	return Result{Outcome: r.outcome, After: after, Guest: r.guest, Bootstrap: r.boot}
}

// sweep removes secrets that no record names, unless an interrupted run may
// still need them.
func (p *Provisioner) sweep(vmid int) error {
	if j, err := p.journals.read(vmid); j != nil || err != nil {
		return nil // an unreadable journal is reported elsewhere
	}
	return p.options.Store.SweepSecrets(vmid)
}

// run is one run of a job.
type run struct {
	p       *Provisioner
	job     Job
	outcome Outcome
	journal *journal // nil until the first change, and in an update
	exists  bool     // the guest
	guest   driver.Guest
	root    driver.IDs
	text    string // description from the archive
	storage string // of the root file system, if the hypervisor has storages
	before  Asked  // what was asked for before
	asked   Asked  // what is asked for now
	boot    contract.Bootstrap
	minted  guests.Minted
	isPut   bool // the minted token is in the mount
	stays   bool // the guest is complete, and may be in use since an earlier run

	// Of an update alone:
	isUpdate  bool
	isStale   bool // bootstrap.json is not what it must be
	isRemoved bool // the mount's directory was removed
	last      *guests.Progress
	isOther   bool // only Register made the guest known: its mount is attached by hand
}

// allSteps are the steps of every run in their order. An update skips what is
// as asked for already.
var allSteps = []struct {
	name     Step
	isNeeded func(*run) bool
	work     func(*run, context.Context) (StepResult, error)
}{
	{StepCheck, (*run).needsCheck, (*run).check}, // of each run, and alone of Check
	{StepToken, (*run).needsBootstrap, (*run).token},
	{StepMount, (*run).needsBootstrap, (*run).mount},
	{StepRestore, (*run).needsRestore, (*run).restore},
	{StepAttach, (*run).needsAttach, (*run).attach},
	{StepStart, (*run).needsStart, (*run).start},
}

func (r *run) steps(ctx context.Context) error {
	for _, s := range allSteps {
		if !s.isNeeded(r) {
			continue
		}
		err := r.p.step(r.job.VMID, s.name, func() (StepResult, error) { return s.work(r, ctx) })
		if err != nil {
			return err
		}
		if s.name == StepCheck && r.journal == nil && !r.isUpdate {
			if err := r.begin(); err != nil {
				return err
			}
		}
	}
	return nil
}

// update brings an existing guest to what the job asks for, or returns what
// prevents it.
func (r *run) update(ctx context.Context) (Result, error) {
	vmid := r.job.VMID
	if err := r.isOwn(); err != nil {
		return Result{}, err
	}
	if err := compare(r.job.given(), r.guest); err != nil {
		return Result{}, err
	}
	last, err := r.p.progress(vmid)
	if err != nil {
		return Result{}, err
	}
	r.isUpdate, r.outcome, r.last = true, Unchanged, last
	r.isRemoved = !r.p.options.Mounts.Exists(vmid)
	if err := r.steps(ctx); err != nil {
		if r.minted.Before != nil && !r.isPut {
			err = errors.Join(err, r.p.dropToken(ctx, vmid, r.minted))
		}
		return Result{}, err
	}
	if !r.isStale && !reflect.DeepEqual(r.before, r.asked) {
		if err := r.remember(ctx); err != nil {
			return Result{}, err
		}
	}
	isUnread := false
	if r.outcome == Unchanged {
		if isUnread, err = r.isUnread(); err != nil {
			return Result{}, err
		}
	}
	if r.outcome == Unchanged && !isUnread {
		result := r.result("")
		result.Last = last
		return result, nil
	}
	after := ""
	if last != nil {
		after = last.Run
	}
	return r.result(after), nil
}

// remember keeps what is asked for now in the guest's record.
func (r *run) remember(ctx context.Context) error {
	kept, err := r.p.keep(r.job.VMID, r.asked)
	if err != nil {
		return err
	}
	return r.p.options.Store.Update(ctx, r.job.VMID, func(g *guests.Record) error {
		if r.isPut {
			g.Confirm(r.minted, r.p.options.Now())
		}
		g.ControllerImage, g.Asked = r.asked.Image, kept
		return nil
	})
}

// repair brings what an interrupted run left into a state to continue from.
func (r *run) repair(ctx context.Context) error {
	if !r.exists {
		return nil
	}
	switch j := r.journal; {
	case j.Cloning && (IDOf(r.guest.Description) == j.ID || r.guest.Partial && r.guest.Description == ""):
		err := r.p.step(r.job.VMID, StepRepair, func() (StepResult, error) {
			return StepResult{Detail: "removed what an interrupted clone had left"}, r.p.discardClone(ctx, r.guest, j)
		})
		r.exists = err != nil
		return err
	case r.guest.Partial && j.Restoring:
		err := r.p.step(r.job.VMID, StepRepair, func() (StepResult, error) {
			return StepResult{Detail: "removed what an interrupted restore had left"}, r.p.options.Hypervisor.Discard(ctx, r.job.VMID, j.Storage)
		})
		r.exists = err != nil
		return err
	case j.Restoring && isBeingMade(r.guest, j.ID):
		return busy(r.guest)
	case IDOf(r.guest.Description) == j.ID:
		r.stays = true
		if r.job.Spec.Archive == "" {
			r.job.Spec.Archive = j.Golden
		}
		if j.Golden != r.job.Spec.Archive {
			return fault.WrapHint(fault.Invalid, fmt.Errorf("it already exists, restored from %s, want %s", j.Golden, r.job.Spec.Archive),
				fmt.Sprintf("name that archive to finish it, or felhom-agentd guest remove --force %d first", r.job.VMID))
		}
		return compare(r.job.given(), r.guest)
	}
	// Another program has taken the VMID since; what this one made is removed.
	return errors.Join(taken(r.guest), r.undo(ctx))
}

// lockCreate is the hypervisor's lock of a guest that is being restored.
const lockCreate = "create"

// isBeingMade reports whether g may come from a running restore of the journal
// with that ID: the ID is written last, and the hypervisor's task outlives the
// process that started it.
func isBeingMade(g driver.Guest, id string) bool {
	return !g.Partial && g.Lock == lockCreate && IDOf(g.Description) != id
}

func busy(g driver.Guest) error {
	return fault.WrapHint(fault.NotReady, fmt.Errorf("guest %d: %w: its restore is at work (lock: %s)", g.VMID, driver.ErrBusy, g.Lock),
		"run the same command again when that task has ended")
}

func taken(g driver.Guest) error {
	name := fmt.Sprintf("guest %d", g.VMID)
	if g.Hostname != "" {
		name += " (" + g.Hostname + ")"
	}
	return fault.WrapHint(fault.Invalid, fmt.Errorf("%s: %w, and felhom-agentd did not make it", name, driver.ErrExists),
		fmt.Sprintf("take another VMID; or, to serve the existing guest, felhom-agentd guest add %d", g.VMID))
}

// begin writes the journal: from here on there may be something to undo.
func (r *run) begin() error {
	vmid := r.job.VMID
	j := &journal{
		VMID: vmid, ID: rand.Text()[:16], Started: r.p.options.Now().UTC().Truncate(time.Second),
		Golden: r.job.Spec.Archive, NewMount: !r.p.options.Mounts.Exists(vmid),
	}
	switch before, err := r.p.options.Store.Get(vmid); {
	case err == nil:
		j.Before = &before
	case errors.Is(err, guests.ErrNotFound):
		j.NewRecord = true
	default:
		return err
	}
	after, err := r.p.LastRun(vmid)
	if err != nil {
		return err
	}
	j.After = after
	if err := r.p.journals.write(j); err != nil {
		return errors.Join(err, r.p.journals.remove(vmid))
	}
	r.journal = j
	return nil
}

// LastRun returns the run that the guest reported of last, "" if there is none.
func (p *Provisioner) LastRun(vmid int) (string, error) {
	last, err := p.progress(vmid)
	if last == nil {
		return "", err
	}
	return last.Run, err
}

// progress returns what the guest reported, nil if nothing.
func (p *Provisioner) progress(vmid int) (*guests.Progress, error) {
	progress, err := p.options.Store.Progress(vmid)
	if errors.Is(err, guests.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &progress, nil
}
