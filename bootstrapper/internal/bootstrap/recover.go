package bootstrap

import (
	"context"
	"errors"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/docker"
)

// Recovered returns a channel that is closed when the container with that ID becomes
// ready, so that a run that did not wait for it any longer can be repeated at once.
// The channel stays open if the container is removed or ctx ends.
func Recovered(ctx context.Context, engine Engine, id string) <-chan struct{} {
	return recovered(ctx, engine, id, stableFor, lookAgain)
}

func recovered(ctx context.Context, engine inspector, id string, stable, again time.Duration) <-chan struct{} {
	done := make(chan struct{})
	// Not started by this step: "unhealthy" is then a state that can pass.
	step := readyStep{engine: engine, stable: stable}
	go func() {
		events := engine.Watch(ctx, LabelManaged)
		var died deaths
		for ctx.Err() == nil {
			c, err := engine.Container(ctx, id)
			wait := again
			switch {
			case errors.Is(err, docker.ErrNotFound):
				return
			case err == nil:
				v := step.judge(c, died)
				if v.ready {
					close(done)
					return
				}
				if v.again > 0 {
					wait = min(wait, v.again)
				}
			}
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-timer.C:
			case e, ok := <-events:
				if !ok { // the connection is lost: only looks from now on
					events = nil
				}
				if e.Container == id && e.Action == "die" {
					died = deaths{last: e.Time} // not counted: it may end as often as it likes before it is ready
				}
			}
			timer.Stop()
		}
	}()
	return done
}
