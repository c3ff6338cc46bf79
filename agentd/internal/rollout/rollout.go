// Package rollout gives many guests another image, some at a time: a wave starts
// when the guests of the previous wave are up, and too many failures end the
// rollout. Call [New] first, then [Rollout.Begin] or [Rollout.Resume].
//
// All that is done is in a journal before it is done. After a kill at any point
// Resume continues where the work ended, and no guest is taken for changed because
// of what it reported before its change.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Provisioner changes guests. *provision.Provisioner implements it.
type Provisioner interface {
	Check(ctx context.Context, job provision.Job) (provision.Outcome, error)
	Provision(ctx context.Context, job provision.Job) (provision.Result, error)
	Wait(ctx context.Context, vmid int, r provision.Result, limit time.Duration) error
	LastRun(vmid int) (string, error)
}

// Options configure [New].
type Options struct {
	StateDir    string // of the journal
	Provisioner Provisioner
	Now         func() time.Time
	// WaveEnded is told of each wave that ended; nil: nothing is.
	WaveEnded func(Status)
}

// Plan is what is to be done. It is kept in the journal.
type Plan struct {
	Image       string        `json:"image"` // for all of Guests
	Guests      []int         `json:"guests"`
	Wave        int           `json:"wave"`         // guests at a time
	MaxFailures int           `json:"max_failures"` // that do not end the rollout
	Wait        time.Duration `json:"wait"`         // for each wave
}

// State is the state of a guest, or of the whole rollout.
type State string

// The states of a guest, and Done, Stopped and Abandoned of a rollout.
const (
	Pending   State = "pending"   // nothing was done
	Started   State = "started"   // it may have been changed
	Healthy   State = "healthy"   // it reported that its controller is up with the image
	Written   State = "written"   // it does not run: it has the image at its next start
	Failed    State = "failed"    // it was not changed, or is not up
	Done      State = "done"      // no guest is left
	Stopped   State = "stopped"   // too many failed
	Abandoned State = "abandoned" // by the operator
)

// Guest is the result for one guest.
type Guest struct {
	VMID    int     `json:"guest"`
	State   State   `json:"state"`
	Outcome string  `json:"outcome,omitempty"` // of its provisioning: updated, unchanged
	Seconds float64 `json:"seconds,omitempty"` // from its change until it was up
	Message string  `json:"message,omitempty"` // of its failure
	Hint    string  `json:"hint,omitempty"`

	// What was so before the change: without it a later run could take a report
	// from before the change for one of after it.
	Expected provision.Outcome `json:"expected,omitempty"` // what the change was going to do
	After    string            `json:"after,omitempty"`    // the last run that the guest had reported
}

// Status is the progress of a rollout.
type Status struct {
	Image   string  `json:"image"`
	State   State   `json:"state"` // started, done, stopped or abandoned
	Healthy int     `json:"healthy"`
	Written int     `json:"written"`
	Failed  int     `json:"failed"`
	Left    int     `json:"left"`
	Guests  []Guest `json:"guests"`

	Wave   int  `json:"-"` // the number of the wave that is at work, is next, or was the last
	Waves  int  `json:"-"` // how many there are
	IsHeld bool `json:"-"` // a process works on it; set by [Rollout.Status] alone
}

// Rollout is the one rollout of a host.
type Rollout struct{ options Options }

// New returns the rollout of a host. It changes nothing.
func New(o Options) *Rollout { return &Rollout{o} }

// Begin carries out the plan. It refuses if an earlier one has not ended.
func (r *Rollout) Begin(ctx context.Context, plan Plan) (Status, error) {
	return r.locked(ctx, func(j *journal) (Status, error) {
		if j != nil {
			return Status{}, fault.WrapHint(fault.Exists, fmt.Errorf("the rollout of %s has not ended: %d guests are left", j.Plan.Image, j.status().Left+j.status().Failed),
				"felhom-agentd guest rollout --resume continues it; --abandon forgets it and leaves each guest as it is")
		}
		j = &journal{Plan: plan}
		for _, vmid := range plan.Guests {
			j.Guests = append(j.Guests, Guest{VMID: vmid, State: Pending})
		}
		return r.run(ctx, j)
	})
}

// Resume continues a rollout that was stopped, killed or interrupted. Guests
// that failed are tried again, and failures are counted from 0.
func (r *Rollout) Resume(ctx context.Context) (Status, error) {
	return r.locked(ctx, func(j *journal) (Status, error) {
		if j == nil {
			return Status{}, errNone()
		}
		for i := range j.Guests {
			if g := &j.Guests[i]; g.State == Failed {
				g.State = Started
			}
		}
		return r.run(ctx, j)
	})
}

// Abandon removes the journal of a rollout that has not ended. Guests stay as
// they are.
func (r *Rollout) Abandon(ctx context.Context) (Status, error) {
	return r.locked(ctx, func(j *journal) (Status, error) {
		if j == nil {
			return Status{}, errNone()
		}
		s := j.status()
		s.State = Abandoned
		return s, r.remove()
	})
}

// Status returns how far the rollout is that has not ended; nil: there is none.
func (r *Rollout) Status() (*Status, error) {
	j, err := r.read()
	if j == nil {
		return nil, err
	}
	status := j.status()
	status.IsHeld = r.isHeld()
	return &status, nil
}

func errNone() error {
	return fault.WrapHint(fault.NotFound, errors.New("there is no rollout that has not ended"), "felhom-agentd guest rollout --image REFERENCE --all starts one")
}

// run carries out what is left of the journal's plan, wave by wave.
func (r *Rollout) run(ctx context.Context, j *journal) (Status, error) {
	var failures []error
	for {
		wave := j.next()
		if len(wave) == 0 {
			return j.status(), errors.Join(r.remove(), stopped(j.status(), failures))
		}
		found, err := r.wave(ctx, j, wave)
		failures = append(failures, found...)
		if err != nil {
			return j.status(), fault.All(append(failures, err)...)
		}
		status := j.status()
		if status.Failed > j.Plan.MaxFailures {
			status.State = Stopped
		}
		if r.options.WaveEnded != nil {
			r.options.WaveEnded(status)
		}
		if status.State == Stopped {
			return status, stopped(status, failures)
		}
	}
}

// stopped returns the error of a rollout in which guests failed.
func stopped(s Status, failures []error) error {
	if len(failures) == 0 {
		return nil
	}
	hint := "correct what is wrong, then felhom-agentd guest set-image for each of these guests"
	if s.State == Stopped {
		hint = "felhom-agentd guest rollout --resume tries the guests that failed again, and continues; --abandon leaves each guest as it is"
	}
	failures = append(failures, fault.WrapHint(fault.Of(failures[0]), fmt.Errorf("rollout of %s: %d failed, %d not reached", s.Image, s.Failed, s.Left), hint))
	return fault.All(failures...)
}

// wave changes some guests and waits for them. found are the guests' failures;
// err ends the rollout where it is.
func (r *Rollout) wave(ctx context.Context, j *journal, wave []*Guest) (found []error, err error) {
	for _, g := range wave {
		if err := r.look(ctx, j, g); err != nil {
			if ctx.Err() != nil {
				return found, context.Cause(ctx)
			}
			found = append(found, g.fail(err)...)
		}
	}
	if err := r.write(j); err != nil {
		return found, err
	}
	start, results := r.options.Now(), make([]provision.Result, len(wave))
	for i, g := range wave {
		if g.State == Failed {
			continue
		}
		if results[i], err = r.options.Provisioner.Provision(ctx, j.job(g)); err != nil {
			if ctx.Err() != nil {
				return found, context.Cause(ctx)
			}
			found = append(found, g.fail(err)...)
			continue
		}
		g.Outcome = string(results[i].Outcome)
		if isStale(*g, results[i]) {
			results[i].Last, results[i].After = nil, g.After
		}
	}
	for i, g := range wave {
		if g.State == Failed {
			continue
		}
		if err := r.settle(ctx, g, results[i], j.Plan.Wait-r.options.Now().Sub(start)); err != nil {
			if ctx.Err() != nil {
				return found, context.Cause(ctx)
			}
			found = append(found, g.fail(err)...)
			continue
		}
		g.Seconds = float64(r.options.Now().Sub(start).Milliseconds()) / 1000
	}
	return found, r.write(j)
}

// look records what a change of the guest is going to do, unless an earlier run
// recorded it, which may have made the change.
func (r *Rollout) look(ctx context.Context, j *journal, g *Guest) error {
	g.State, g.Message, g.Hint = Started, "", ""
	if g.Expected != "" {
		return nil
	}
	expected, err := r.options.Provisioner.Check(ctx, j.job(g))
	if err != nil {
		return err
	}
	if g.After, err = r.options.Provisioner.LastRun(g.VMID); err == nil {
		g.Expected = expected
	}
	return err
}

// isStale reports whether the guest was changed by an earlier run, and has
// reported nothing since.
func isStale(g Guest, result provision.Result) bool {
	return result.Outcome == provision.Unchanged && g.Expected != provision.Unchanged && result.Last != nil && result.Last.Run == g.After
}

// settle waits for a guest that runs.
func (r *Rollout) settle(ctx context.Context, g *Guest, result provision.Result, limit time.Duration) error {
	if result.Guest.State != driver.Running {
		g.State = Written
		return nil
	}
	if err := r.options.Provisioner.Wait(ctx, g.VMID, result, max(limit, 0)); err != nil {
		return err
	}
	g.State = Healthy
	return nil
}

// maxText bounds what the journal keeps of one failure.
const maxText = 1000

// fail notes the failure and returns its parts, each with the guest.
func (g *Guest) fail(err error) (all []error) {
	all = fault.Each(err)
	g.State, g.Message, g.Hint = Failed, termtext.Line(err.Error(), maxText), termtext.Line(fault.HintOf(all[0]), maxText)
	about := fmt.Sprintf("guest %d", g.VMID)
	for i, one := range all {
		if !startsWith(one, about) {
			all[i] = fmt.Errorf("%s: %w", about, one)
		}
	}
	return all
}

func startsWith(err error, about string) bool {
	text := err.Error()
	return len(text) > len(about) && text[:len(about)] == about && text[len(about)] == ':'
}

// next returns the guests of the next wave: first those that an earlier run may
// have changed.
func (j *journal) next() (wave []*Guest) {
	for _, state := range []State{Started, Pending} {
		for i := range j.Guests {
			if g := &j.Guests[i]; g.State == state && len(wave) < max(j.Plan.Wave, 1) {
				wave = append(wave, g)
			}
		}
	}
	slices.SortStableFunc(wave, func(a, b *Guest) int { return a.VMID - b.VMID })
	return wave
}

func (j *journal) job(g *Guest) provision.Job {
	return provision.Job{VMID: g.VMID, IsChange: true, Given: &driver.Spec{}, Asked: provision.Asked{Image: j.Plan.Image}}
}

func (j *journal) status() Status {
	s := Status{Image: j.Plan.Image, State: Started, Guests: slices.Clone(j.Guests)}
	for _, g := range j.Guests {
		switch g.State {
		case Healthy:
			s.Healthy++
		case Written:
			s.Written++
		case Failed:
			s.Failed++
		default:
			s.Left++
		}
	}
	if s.Left == 0 {
		s.State = Done
	}
	wave := max(j.Plan.Wave, 1)
	s.Waves = (len(j.Guests) + wave - 1) / wave
	s.Wave = min(s.Waves, (len(j.Guests)-s.Left)/wave+1)
	return s
}
