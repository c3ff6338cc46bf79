package provision

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/exit"
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
		return Result{}, exit.WithHint(exit.Refused, fmt.Errorf("guest %d: its removal was interrupted", job.VMID), fmt.Sprintf("felhom-agentd guest remove %d finishes it", job.VMID))
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
		return Result{Outcome: Finished}, nil
	}
	return Result{Outcome: Provisioned}, nil
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
	boot    contract.Bootstrap
	minted  guests.Minted
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
			return "done", "removed what an interrupted restore had left", m.o.Hypervisor.Discard(ctx, m.job.VMID)
		})
		m.isThere = err != nil
		return err
	case idOf(m.guest.Description) == m.j.ID:
		return nil
	}
	// Somebody else has taken the number since; what is ours goes.
	return errors.Join(taken(m.guest), m.undo(ctx))
}

func taken(g driver.Guest) error {
	return exit.WithHint(exit.Refused, fmt.Errorf("guest %d (%s): %w, and felhom-agentd did not make it", g.VMID, g.Hostname, driver.ErrExists),
		fmt.Sprintf("take another VMID; or, to serve the guest that is there, felhom-agentd guest add %d", g.VMID))
}

// check finds everything that can be wrong before the first byte is written.
func (m *making) check(ctx context.Context) error {
	var err error
	if m.boot, err = m.o.Bootstrap(m.job.VMID, m.job.Image); err != nil {
		return err
	}
	if m.isThere {
		m.root = m.guest.Root
		return nil
	}
	if err := m.o.Hypervisor.Check(ctx, m.job.VMID, m.job.Spec); err != nil {
		return err
	}
	data, err := m.o.Hypervisor.ArchiveConfig(ctx, m.job.Spec.Archive)
	if err != nil {
		return err
	}
	conf, _ := pctconf.Parse(data) // Check has told of what is wrong with it
	m.text = conf.Description
	m.root.UID, m.root.GID, err = pctconf.RootIDs(conf)
	if err != nil {
		return exit.With(exit.Refused, fmt.Errorf("%s: %w", m.job.Spec.Archive, err))
	}
	return nil
}

// begin writes the journal: from here on there is something to undo.
func (m *making) begin() error {
	_, err := m.o.Store.Get(m.job.VMID)
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		return err
	}
	m.j = &journal{
		VMID: m.job.VMID, ID: rand.Text()[:16], Begun: m.o.Now().UTC().Truncate(time.Second),
		NewRecord: err != nil, NewMount: !m.o.Mounts.Exists(m.job.VMID),
	}
	return m.o.writeJournal(m.j)
}

func (m *making) token(ctx context.Context) (string, string, error) {
	var err error
	m.minted, err = m.o.Store.Mint(ctx, m.job.VMID, m.root.UID, m.o.Overlap)
	if err != nil {
		return "", "", err
	}
	return "done", "", m.o.Store.Update(ctx, m.job.VMID, func(r *guests.Record) error {
		r.ControllerImage = m.job.Image
		return nil
	})
}

func (m *making) mount(context.Context) (string, string, error) {
	return "done", m.o.Mounts.Path(m.job.VMID), WriteMount(m.o.Mounts, m.boot, m.minted, m.job.VMID, m.root)
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
	err := m.o.Hypervisor.Restore(ctx, m.job.VMID, spec, func(done, total int64) {
		m.o.Observer.Bytes(m.job.VMID, StepRestore, done, total)
	})
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

// undoLimit bounds an undo, which goes on when the run was interrupted.
const undoLimit = 5 * time.Minute

// undo takes back what the journal tells of, the last first. It keeps the
// journal when that did not work, for guest remove.
func (m *making) undo(ctx context.Context) error {
	if m.j == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	err := m.o.step(m.job.VMID, StepUndo, func() (string, string, error) { return "done", "", m.o.takeBack(ctx, m.j) })
	if err != nil {
		return exit.WithHint(exit.Failed, fmt.Errorf("undo: %w", err), fmt.Sprintf("felhom-agentd guest remove %d, when what is in the way is gone", m.job.VMID))
	}
	return nil
}

func (o Options) takeBack(ctx context.Context, j *journal) error {
	if j.Restoring {
		if err := o.destroy(ctx, j.VMID, j.ID, 0); err != nil {
			return err
		}
	}
	var all []error
	if j.NewMount {
		all = append(all, o.Mounts.Remove(j.VMID))
	}
	if j.NewRecord {
		all = append(all, o.Store.Replace(ctx, j.VMID, nil), o.Store.RemoveReports(j.VMID))
	} else {
		// A token that was there before has its overlap; the record stays.
		all = append(all, o.Store.Update(ctx, j.VMID, func(r *guests.Record) error {
			r.Provisioned = nil
			return nil
		}))
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	return o.removeJournal(j.VMID)
}

// destroy removes the guest that has the ID, half or whole, with grace for one
// that runs. Somebody else's is left alone.
func (o Options) destroy(ctx context.Context, vmid int, id string, grace time.Duration) error {
	g, err := o.Hypervisor.Guest(ctx, vmid)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return nil
	case err != nil:
		return err
	case g.Half:
		return o.Hypervisor.Discard(ctx, vmid)
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

// converge finds a guest there and brings it to what the job says, or says
// what is in the way.
func (o Options) converge(ctx context.Context, job Job, g driver.Guest) (Result, error) {
	record, err := o.Store.Get(job.VMID)
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		return Result{}, err
	}
	if err != nil || record.Provisioned == nil || record.Provisioned.ID != idOf(g.Description) || g.Half {
		return Result{}, taken(g)
	}
	if diff := differences(job.Spec, g); len(diff) > 0 {
		return Result{}, exit.WithHint(exit.Refused, fmt.Errorf("guest %d is there, with %s", job.VMID, strings.Join(diff, ", ")),
			fmt.Sprintf("leave those options out; or change the guest itself; or felhom-agentd guest remove %d first", job.VMID))
	}
	result := Result{Outcome: Unchanged}
	if p, err := o.Store.Progress(job.VMID); err == nil {
		result.After = p.Run
	}
	if job.Image != "" && job.Image != record.ControllerImage || !o.Mounts.Exists(job.VMID) {
		m := &making{o: o, job: job, isThere: true, guest: g}
		if job.Image == "" {
			m.job.Image = record.ControllerImage
		}
		if err := m.update(ctx); err != nil {
			return Result{}, err
		}
		result.Outcome = Updated
	}
	if !o.isAttached(g) {
		err := o.step(job.VMID, StepAttach, func() (string, string, error) {
			return "done", "", o.Hypervisor.Attach(ctx, job.VMID, o.mount(job.VMID))
		})
		if err != nil {
			return Result{}, err
		}
		result.Outcome = Updated
	}
	if job.Start && g.State != driver.Running {
		err := o.step(job.VMID, StepStart, func() (string, string, error) {
			return "done", "", o.Hypervisor.Start(ctx, job.VMID)
		})
		if err != nil {
			return Result{}, err
		}
		result.Outcome = Started
	}
	if result.Outcome == Unchanged {
		result.After = ""
	}
	return result, nil
}

// update gives a guest that is there a new bootstrap.json.
func (m *making) update(ctx context.Context) error {
	for _, s := range []struct {
		name Step
		work func() (string, string, error)
	}{
		{StepCheck, func() (string, string, error) { return "done", "", m.check(ctx) }},
		{StepToken, func() (string, string, error) { return m.token(ctx) }},
		{StepMount, func() (string, string, error) { return m.mount(ctx) }},
	} {
		if err := m.o.step(m.job.VMID, s.name, s.work); err != nil {
			return err
		}
	}
	return nil
}

// differences says what of the guest that is there is not as asked for. What
// an adapter does not tell (memory, cores) is not compared.
func differences(s driver.Spec, g driver.Guest) []string {
	var list []string
	add := func(what, wanted, found string) {
		if wanted != found {
			list = append(list, fmt.Sprintf("%s %s and not %s", what, found, wanted))
		}
	}
	if s.Hostname != "" {
		add("hostname", s.Hostname, g.Hostname)
	}
	if s.Net.Bridge != "" {
		add("bridge", s.Net.Bridge, g.Net.Bridge)
	}
	if s.Net.Address.IsValid() {
		add("address", s.Net.Address.String(), g.Net.Address.String())
	}
	return list
}
