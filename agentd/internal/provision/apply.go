package provision

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// Result is what Apply did.
type Result struct {
	Outcome Outcome
	// After is the run that the guest had reported before anything was done:
	// what the guest does now has another ID. "" where any run will do.
	After string
}

// Apply makes the guest of the job, finishes what an interrupted run began, or
// finds it there already. When a step fails, all before it are undone.
func (o Options) Apply(ctx context.Context, job Job) (_ Result, err error) {
	unlock, err := o.claim(job.VMID)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	j, err := o.readJournal(job.VMID)
	if err != nil {
		return Result{}, err
	}
	if j != nil && j.Removing {
		return Result{}, fault.WrapHint(fault.Invalid, errors.New("its removal was interrupted"), fmt.Sprintf("felhom-agentd guest remove %d finishes it", job.VMID))
	}
	g, err := o.Hypervisor.Guest(ctx, job.VMID)
	isThere := err == nil
	if err != nil && !errors.Is(err, driver.ErrNotFound) {
		return Result{}, err
	}
	if j == nil && isThere {
		return o.converge(ctx, job, g)
	}
	m := &making{o: o, job: job, j: j, guest: g, isThere: isThere}
	if err := m.run(ctx); err != nil {
		return Result{}, err
	}
	if j != nil {
		return Result{Outcome: Finished, After: m.j.After}, nil
	}
	return Result{Outcome: Provisioned, After: m.j.After}, nil
}

// making is one run of a job.
type making struct {
	o       Options
	job     Job
	j       *journal // nil until the first change
	isThere bool     // the guest
	guest   driver.Guest
	root    driver.IDs
	text    string // description from the archive
	storage string // of the root file system, where there are storages
	boot    contract.Bootstrap
	minted  guests.Minted
	isPut   bool // the token is in the mount
	stays   bool // the guest is whole, and may be in use since an earlier run
}

func (m *making) run(ctx context.Context) error {
	if m.j != nil {
		if err := m.repair(ctx); err != nil {
			return err
		}
	}
	if err := m.o.step(m.job.VMID, StepCheck, func() (string, string, error) { return "done", "", m.check(ctx) }); err != nil {
		return errors.Join(err, m.undo(ctx)) // what an earlier run had begun
	}
	if m.j == nil {
		if err := m.begin(); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		name Step
		work func(context.Context) (result, detail string, err error)
	}{
		{StepToken, m.token}, {StepMount, m.mount}, {StepRestore, m.restore}, {StepAttach, m.attach}, {StepStart, m.start},
	} {
		err := m.o.step(m.job.VMID, s.name, func() (string, string, error) { return s.work(ctx) })
		if err != nil {
			return errors.Join(err, m.undo(ctx))
		}
	}
	return m.o.removeJournal(m.job.VMID)
}

// repair makes what an interrupted run left into something to go on from.
func (m *making) repair(ctx context.Context) error {
	if !m.isThere {
		return nil
	}
	switch {
	case m.guest.Half && m.j.Restoring:
		err := m.o.step(m.job.VMID, StepRepair, func() (string, string, error) {
			return "done", "removed what an interrupted restore had left", m.o.Hypervisor.Discard(ctx, m.job.VMID, m.j.Storage)
		})
		m.isThere = err != nil
		return err
	case m.j.Restoring && isBeingMade(m.guest, m.j.ID):
		return busy(m.guest)
	case idOf(m.guest.Description) == m.j.ID:
		m.stays = true
		if m.j.Golden != m.job.Spec.Archive {
			return fault.WrapHint(fault.Invalid, fmt.Errorf("it is there, restored from %s and not from %s", m.j.Golden, m.job.Spec.Archive),
				fmt.Sprintf("name that golden to finish it, or felhom-agentd guest remove --force %d first", m.job.VMID))
		}
		return m.o.compare(m.job.Spec, m.guest)
	}
	// Somebody else has taken the number since; what is ours goes.
	return errors.Join(taken(m.guest), m.undo(ctx))
}

// lockCreate is the hypervisor's word for a guest whose restore is at work.
const lockCreate = "create"

// isBeingMade reports whether g may be what a restore of ours makes: its ID is
// written last, and the hypervisor's task outlives the process that asked for it.
func isBeingMade(g driver.Guest, id string) bool {
	return !g.Half && g.Lock == lockCreate && idOf(g.Description) != id
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
		fmt.Sprintf("take another VMID; or, to serve the guest that is there, felhom-agentd guest add %d", g.VMID))
}

// check finds everything that can be wrong before the first byte is written.
func (m *making) check(ctx context.Context) error {
	var err error
	m.boot, err = m.o.Bootstrap(m.job.VMID, m.job.Image)
	if m.isThere {
		m.root = m.guest.Root
		return err
	}
	all := []error{err, m.o.Hypervisor.Check(ctx, m.job.VMID, m.job.Spec)}
	data, err := m.o.Hypervisor.ArchiveConfig(ctx, m.job.Spec.Archive)
	if errors.Join(all...) == nil {
		all = append(all, err) // otherwise Check has told of it
	}
	conf, _ := pctconf.Parse(data) // Check has told of what is wrong with it
	all = append(all, m.checkNetwork(ctx, conf))
	if err := errors.Join(all...); err != nil {
		return err
	}
	m.text = conf.Description
	m.storage = cmp.Or(m.job.Spec.Storage, pctconf.RootStorage(conf))
	m.root.UID, m.root.GID, err = pctconf.RootIDs(conf)
	if err != nil {
		return fault.Wrap(fault.Invalid, fmt.Errorf("%s: %w", m.job.Spec.Archive, err))
	}
	return nil
}

// begin writes the journal: from here on there is something to undo.
func (m *making) begin() error {
	j := &journal{
		VMID: m.job.VMID, ID: rand.Text()[:16], Begun: m.o.Now().UTC().Truncate(time.Second),
		Golden: m.job.Spec.Archive, NewMount: !m.o.Mounts.Exists(m.job.VMID),
	}
	switch before, err := m.o.Store.Get(m.job.VMID); {
	case err == nil:
		j.Before = &before
	case errors.Is(err, guests.ErrNotFound):
		j.NewRecord = true
	default:
		return err
	}
	after, err := m.o.lastRun(m.job.VMID)
	if err != nil {
		return err
	}
	j.After = after
	if err := m.o.writeJournal(j); err != nil {
		return errors.Join(err, m.o.removeJournal(m.job.VMID))
	}
	m.j = j
	return nil
}

// lastRun is the run that the guest reported of last, "" where it did not.
func (o Options) lastRun(vmid int) (string, error) {
	p, err := o.Store.Progress(vmid)
	if errors.Is(err, guests.ErrNotFound) {
		return "", nil
	}
	return p.Run, err
}

func (m *making) token(ctx context.Context) (string, string, error) {
	var err error
	m.minted, err = m.o.Store.Mint(ctx, m.job.VMID, m.root.UID, m.o.Overlap)
	return "done", "", err
}

func (m *making) mount(ctx context.Context) (string, string, error) {
	was := false
	if m.j != nil {
		was, m.j.Mounted = m.j.Mounted, true
		if err := m.o.writeJournal(m.j); err != nil {
			return "", "", err
		}
	}
	if err := WriteMount(m.o.Mounts, m.boot, m.minted, m.job.VMID, m.root); err != nil {
		if m.j != nil {
			m.j.Mounted = was // by an earlier run, whose token is there still
		}
		return "", "", err
	}
	m.isPut = true
	// The record names an image only once the mount does: a run that ends
	// between the two is then repeated by the next.
	return "done", m.o.Mounts.Path(m.job.VMID), m.o.Store.Update(ctx, m.job.VMID, func(r *guests.Record) error {
		r.Confirm(m.minted, m.o.Now())
		r.ControllerImage = m.job.Image
		return nil
	})
}

func (m *making) restore(ctx context.Context) (string, string, error) {
	if m.isThere {
		return "unchanged", "restored by the run before", nil
	}
	m.j.Restoring = true
	if err := m.o.writeJournal(m.j); err != nil {
		return "", "", err
	}
	spec := m.job.Spec
	if spec.Description == "" {
		spec.Description = m.text
	}
	spec.Description = describe(spec.Description, m.j.ID)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var begun sync.Once
	err := m.o.Hypervisor.Restore(ctx, m.job.VMID, spec, func(done, total int64) {
		begun.Do(func() { // what the storage has of this VMID from now on is ours
			if m.j.Storage = m.storage; m.storage != "" {
				cancelOn(cancel, m.o.writeJournal(m.j))
			}
		})
		m.o.Observer.Bytes(m.job.VMID, StepRestore, done, total)
	})
	if errors.Is(err, driver.ErrExists) {
		m.j.Restoring = false // what is there is somebody else's, half or whole
	}
	if err != nil {
		return "", "", err
	}
	if m.guest, err = m.o.Hypervisor.Guest(ctx, m.job.VMID); err != nil {
		return "", "", err
	}
	if m.guest.Root != m.root {
		// The archive's map is not the one that the guest got.
		m.root = m.guest.Root
		if err := WriteMount(m.o.Mounts, m.boot, m.minted, m.job.VMID, m.root); err != nil {
			return "", "", err
		}
	}
	return "done", m.guest.Net.MAC, nil
}

func cancelOn(cancel context.CancelCauseFunc, err error) {
	if err != nil {
		cancel(err)
	}
}

func (m *making) attach(ctx context.Context) (string, string, error) {
	if err := m.o.Hypervisor.Attach(ctx, m.job.VMID, m.o.mount(m.job.VMID)); err != nil {
		return "", "", err
	}
	return "done", "", m.o.Store.Update(ctx, m.job.VMID, func(r *guests.Record) error {
		r.Provisioned = &guests.Provisioned{ID: m.j.ID, Golden: m.job.Spec.Archive, At: m.o.Now().UTC().Truncate(time.Second)}
		return nil
	})
}

func (m *making) start(ctx context.Context) (string, string, error) {
	if !m.job.Start {
		return "skipped", "", nil
	}
	err := m.o.Hypervisor.Start(ctx, m.job.VMID)
	if errors.Is(err, driver.ErrRunning) {
		return "unchanged", "", nil
	}
	return "done", "", err
}
