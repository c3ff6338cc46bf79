package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/engineunit"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// connector is the part of the engine that the engine step needs.
type connector interface {
	Connect(ctx context.Context) (docker.Engine, error)
	Subnets(ctx context.Context) ([]docker.Subnet, error)
}

const (
	// pingLimit bounds one ping. Socket activation holds the first one for up to a
	// second while dockerd starts; an engine that hangs never answers.
	pingLimit = 20 * time.Second
	// unitEvery is how often the engine's unit is read meanwhile. A failure
	// counts if it is read twice: the unit may be about to start.
	unitEvery = time.Second
	// unitLimit bounds one reading of the unit.
	unitLimit = 3 * time.Second
)

// engineStep waits for the engine and negotiates the API version.
type engineStep struct {
	engine connector
	limit  time.Duration
	stale  <-chan struct{} // closed: the contract has changed since
	// unit returns the state of the engine's unit; nil: the engine is not a unit of this guest.
	unit     func(context.Context) (engineunit.State, error)
	nics     func() []nic // the guest's own; nil: not to be compared with the engine's networks
	endpoint string       // of the host
}

// unitError is the error of an engine whose unit has failed.
type unitError struct{ state engineunit.State }

func (e *unitError) Error() string { return e.state.Text }

func (s engineStep) run(ctx context.Context, note func(string)) (outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, context.DeadlineExceeded)
	defer cancel()
	ctx, failed := context.WithCancelCause(ctx)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		s.watch(ctx, note, failed)
	}()
	defer func() { failed(nil); <-looked }()
	pause := backoff{first: 50 * time.Millisecond, most: time.Second}
	for try := 0; ; try++ {
		got, err := s.ping(ctx)
		if err == nil {
			return s.networks(ctx, outcome{Outcome: Unchanged, Message: "API " + got.API}, note), nil
		}
		if docker.KindOf(err).Verdict() == docker.Permanent {
			return outcome{}, classed(err)
		}
		if try == 0 {
			note("waiting for the engine")
		}
		if waitErr := pause.wait(ctx, 0, s.stale); waitErr != nil {
			if errors.Is(waitErr, errStale) {
				return outcome{}, classed(err)
			}
			if unit, ok := errors.AsType[*unitError](context.Cause(ctx)); ok {
				return outcome{}, unitFailed(unit.state)
			}
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				<-looked // one reading at a time
				return outcome{}, classed(fmt.Errorf("after %s: %w%s", s.limit, err, s.says()))
			}
			return outcome{}, waitErr
		}
	}
}

// networks looks for a network of the engine that overlaps the guest's own,
// which makes a running controller unreachable.
func (s engineStep) networks(ctx context.Context, out outcome, note func(string)) outcome {
	if s.nics == nil {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, unitLimit)
	defer cancel()
	subnets, _ := s.engine.Subnets(ctx) // optional: if the engine does not list its networks, they are not checked
	what, isFinal := overlap(s.nics(), s.endpoint, subnets)
	switch {
	case what == "":
	case isFinal:
		return outcome{
			Degraded, out.Message + "; " + what + ": this guest, or its controller, might not be reachable",
			"choose another bip and default-address-pools in /etc/docker/daemon.json (docker.daemon in the recipe), or another network for the guest; remove a network that you created with docker network rm",
		}
	default:
		note("warning: " + what + ": choose other default-address-pools in /etc/docker/daemon.json (docker.daemon in the recipe)")
	}
	return out
}

func (s engineStep) ping(ctx context.Context) (docker.Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	return s.engine.Connect(ctx)
}

// watch reads the state of the engine's unit until ctx is done, and ends the step
// by failed if the unit has failed: nothing restarts it.
func (s engineStep) watch(ctx context.Context, note func(string), failed context.CancelCauseFunc) {
	if s.unit == nil {
		return
	}
	tick := time.NewTicker(unitEvery)
	defer tick.Stop()
	seen, said := 0, ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		state, err := s.look(ctx)
		if err != nil || ctx.Err() != nil {
			continue // without systemd, or one that is busy, the socket alone decides
		}
		if !state.Failed {
			if seen = 0; state.Text != "" && state.Text != said {
				said = state.Text
				note("waiting for the engine: " + said)
			}
			continue
		}
		// The last words are kept by a unit that systemd starts after the failure.
		if seen++; seen >= 2 && state.Quoted || seen >= 4 {
			failed(&unitError{state})
			return
		}
	}
}

func (s engineStep) look(ctx context.Context) (engineunit.State, error) {
	ctx, cancel := context.WithTimeout(ctx, unitLimit)
	defer cancel()
	return s.unit(ctx)
}

// says returns the state of the unit for the end of a message; "" if nothing is
// known.
func (s engineStep) says() string {
	if s.unit == nil {
		return ""
	}
	state, err := s.look(context.Background()) // the step's own time is over
	if err != nil || state.Text == "" {
		return ""
	}
	return "; " + state.Text
}

func unitFailed(state engineunit.State) error {
	hint := "read journalctl -u docker.service -n 20"
	if state.Quoted {
		hint = "correct what it says (most often /etc/docker/daemon.json; all of it: journalctl -u docker.service -n 20)"
	}
	return fault.WrapHint(fault.NotReady, errors.New(state.Text), hint+", then: systemctl reset-failed docker.service docker.socket; systemctl start docker.service")
}
