package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/progress"
)

// inspector is the part of the engine that the ready step needs, without what
// the rollback needs.
type inspector interface {
	containers
	Logs(ctx context.Context, id string, lines int) (string, error)
}

// How the step judges a container without a health test, and one that keeps
// ending.
const (
	// stableFor is longer than the step of the engine's restart backoff that
	// follows a container's third death.
	stableFor = 4 * time.Second
	// deathsAllowed: one death may come from a race with another program that
	// starts.
	deathsAllowed = 2
	// lookAgain is the wait between two looks at the container, in case an
	// event is lost.
	lookAgain = 5 * time.Second
	logLines  = 20
)

// readyStep waits until the controller is ready, and rolls back to the previous
// one if it does not become ready.
type readyStep struct {
	engine inspector
	name   string
	now    running
	limit  time.Duration
	stable time.Duration // zero: stableFor
	scrub  func(string) string
	// address is the guest's own, for the URLs of the published ports.
	address string
	stale   <-chan struct{} // closed: the host wants something else; nil: never
	// proven keeps that the container is ready, before the one before is removed;
	// refuse keeps why it is not, before the one before is put back. Both may be
	// nil.
	proven func() error
	refuse func(error) error
	kept   *goodSettings
}

// errChanged ends a wait: the next run has the new input, and replaces what this
// one waits for.
var errChanged = errors.New("the host has changed the mount meanwhile, so this wait is over")

func (s readyStep) run(ctx context.Context, note func(string)) (outcome, error) {
	if s.stable == 0 {
		s.stable = stableFor
	}
	waited, why, err := s.wait(ctx, note)
	if err != nil {
		return outcome{}, err
	}
	if why != "" {
		return outcome{}, s.notReady(ctx, why, note)
	}
	text := "ready" + answersAt(s.now.ports, s.address) + s.downtime()
	if s.proven != nil {
		if err := s.proven(); err != nil { // the one before stays: the next run tries to keep it again
			return outcome{
				Outcome: Degraded, Message: text + "; " + err.Error(),
				Hint: "make " + MemoryFile + " writable: without it, a later change that fails may have nothing to return to",
			}, nil
		}
	}
	if s.now.previous != "" {
		if err := s.engine.Remove(ctx, s.now.previous); err != nil {
			return outcome{}, classed(err)
		}
	}
	if s.now.unpublished != "" {
		text += "; nothing outside of this guest reaches it, because it publishes no port: " + s.now.unpublished
	}
	if waited {
		return outcome{Outcome: Changed, Message: text}, nil
	}
	return outcome{Outcome: Unchanged, Message: text}, nil
}

// downtime returns for how long no controller was ready, after a semicolon; "" if
// this run stopped none.
func (s readyStep) downtime() string {
	if s.now.stopped.IsZero() {
		return ""
	}
	return "; down for " + progress.Duration(time.Since(s.now.stopped))
}

// deaths is what the events say about a container's ends.
type deaths struct {
	count int
	code  int // exit code of the last
	last  time.Time
}

// verdict is the result of one look at the container.
type verdict struct {
	ready bool
	why   string        // not ready, and will not become so
	again time.Duration // look again after this, if nothing happens before
}

// wait returns whether it had to wait, and why the container is not ready.
func (s readyStep) wait(ctx context.Context, note func(string)) (waited bool, why string, err error) {
	id := s.now.container.ID
	events := s.now.events
	deadline := time.NewTimer(s.limit)
	defer deadline.Stop()
	var died deaths
	current := s.now.container
	fresh := !s.now.started // the container step has just looked
	said := ""
	for {
		if !fresh {
			if current, err = s.engine.Container(ctx, id); err != nil {
				return true, "", classed(err)
			}
		}
		fresh = false
		v := s.judge(current, died)
		if v.ready || v.why != "" {
			return waited || s.now.started, v.why, nil
		}
		if !waited {
			note("waiting until it is ready")
		}
		if events == nil {
			events = s.engine.Watch(ctx, LabelManaged)
			waited = true
			continue // a look sees what happened before the subscription
		}
		waited = true
		if current.HealthSays != "" && current.HealthSays != said {
			said = current.HealthSays
			note("waiting until it is ready; its health test says: " + said)
		}
		again := time.NewTimer(v.again)
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-s.stale:
			err = fault.WrapHint(fault.NotReady, errChanged, "the next run begins at once")
		case <-deadline.C:
			why = fmt.Sprintf("not ready after %s: %s", s.limit, state(current))
		case <-again.C:
		case e, ok := <-events:
			switch {
			case !ok: // the connection is lost: only looks from now on
				events = make(chan docker.Event)
			case e.Container == id && e.Action == "die":
				died = deaths{died.count + 1, e.ExitCode, e.Time}
			}
		}
		again.Stop()
		if err != nil || why != "" {
			return true, why, err
		}
	}
}

func (s readyStep) judge(c docker.Container, died deaths) verdict {
	switch {
	case died.count > deathsAllowed:
		return verdict{why: fmt.Sprintf("it ended %d times, last with exit code %d", died.count, died.code)}
	case c.Status != "running": // engines report an ended container as unhealthy, too
		return verdict{again: lookAgain}
	case c.Health == "healthy":
		return verdict{ready: true}
	case c.Health == "unhealthy" && s.now.started:
		return verdict{why: unhealthy(c)}
	case c.Health != "":
		return verdict{again: lookAgain}
	}
	// "running" means little in the first seconds under a restart policy: the
	// container is stable if it has run for long enough without a death.
	since := c.StartedAt
	if died.last.After(since) {
		since = died.last
	}
	if left := s.stable - time.Since(since); left > 0 {
		return verdict{again: left}
	}
	return verdict{ready: true}
}

func unhealthy(c docker.Container) string {
	text := "its health test says unhealthy"
	if c.HealthSays != "" {
		text += ": " + c.HealthSays
	}
	return text
}

func state(c docker.Container) string {
	text := "it is " + c.Status
	if c.Health != "" {
		text += ", health " + c.Health
		if c.HealthSays != "" {
			text += " (its test says: " + c.HealthSays + ")"
		}
	}
	if c.Status != "running" {
		text += fmt.Sprintf(", exit code %d", c.ExitCode)
	}
	if c.Error != "" {
		text += ": " + c.Error
	}
	return text
}

// notReady collects what a person needs, and rolls back to the previous container
// if one exists. It leaves a first container as it is: the engine restarts it,
// and what it waits for may still come.
func (s readyStep) notReady(ctx context.Context, why string, note func(string)) error {
	text := fmt.Sprintf("controller %s (%.12s): %s", s.name, s.now.container.ID, why)
	logs, logErr := s.engine.Logs(ctx, s.now.container.ID, logLines)
	if logErr != nil {
		text += "\nits log cannot be read: " + logErr.Error()
	} else if logs = strings.TrimSpace(s.scrub(logs)); logs != "" {
		text += "\nits last lines:\n  " + strings.ReplaceAll(logs, "\n", "\n  ")
	}
	class, hint := fault.NotReady, "look at its log: docker logs "+s.name
	if s.now.previous != "" || s.now.isTrial {
		if s.refuse != nil && ctx.Err() == nil {
			if err := s.refuse(errors.New(text)); err != nil {
				text += "\nthat cannot be kept, so the next boot tries it again: " + err.Error()
			}
		}
		what, err := s.goBack(ctx)
		if err != nil {
			text += "\n" + what + " could not be put back: " + err.Error()
		} else {
			text += "\n" + what + " runs again" + s.backAgain(ctx, note) + s.downtime()
			class = rolledBack(ctx, class)
			hint = "correct the image or its settings; the new container was removed, its last lines are above"
			if s.now.isTrial {
				hint = "correct the settings (the template, or the values that it shows); the controller's last lines with them are above"
			}
		}
	}
	return fault.WrapHint(class, fmt.Errorf("%s", text), hint)
}

// goBack returns to what was ready last, and what that is: the previous container,
// or the same one with the settings before.
func (s readyStep) goBack(ctx context.Context) (what string, err error) {
	_, err = s.kept.restore()
	if !s.now.isTrial {
		return "the previous container", errors.Join(err, putBack(ctx, s.engine, s.name, s.now.previous, s.now.container.ID))
	}
	what = "the controller with its settings of before"
	if err != nil {
		return what, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	return what, s.engine.Restart(ctx, s.now.container.ID, stopGrace)
}

// backAgain waits for the previous container, which runs again, and returns its
// state: the host must know if the rollback did not help.
func (s readyStep) backAgain(ctx context.Context, note func(string)) string {
	note("what was ready last runs again; waiting until it is ready")
	back := s
	back.limit = min(s.limit, leastReadyWait)
	back.now = running{container: docker.Container{ID: cmp.Or(s.now.previous, s.now.container.ID), Name: s.name}, started: true}
	switch _, why, err := back.wait(ctx, func(string) {}); {
	case err != nil:
		return ""
	case why != "":
		return ", but is not ready: " + s.scrub(why)
	}
	return " and is ready"
}
