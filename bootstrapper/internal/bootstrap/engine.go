package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/docker"
)

// connector is the engine as the engine step needs it.
type connector interface {
	Connect(ctx context.Context) (docker.Engine, error)
}

// pingLimit bounds one ping. Socket activation holds the first one for up to a
// second while dockerd starts; an engine that hangs holds it for ever.
const pingLimit = 20 * time.Second

// engineStep waits for the engine and settles the API version.
type engineStep struct {
	engine connector
	limit  time.Duration
	stale  <-chan struct{} // closed: the contract is another one by now
}

func (s engineStep) run(ctx context.Context, note func(string)) (outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, context.DeadlineExceeded)
	defer cancel()
	pause := backoff{first: 50 * time.Millisecond, most: time.Second}
	for try := 0; ; try++ {
		got, err := s.ping(ctx)
		if err == nil {
			return outcome{Outcome: Unchanged, Message: "API " + got.API}, nil
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
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return outcome{}, classed(fmt.Errorf("after %s: %w", s.limit, err))
			}
			return outcome{}, waitErr
		}
	}
}

func (s engineStep) ping(ctx context.Context) (docker.Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	return s.engine.Connect(ctx)
}
