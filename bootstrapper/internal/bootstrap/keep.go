package bootstrap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// keeper has the controller that was ready last run, whatever became of a change.
type keeper struct {
	engine   inspector
	memory   *memory
	settings *goodSettings
}

// found is the controller's containers that exist.
type found struct {
	good    *docker.Container // the one that was ready last; nil: it is gone
	current *docker.Container // another one that has its name; nil: there is none
}

func (k keeper) look(ctx context.Context) (f found, err error) {
	for _, name := range []string{ContainerName, ContainerName + previousSuffix} {
		c, err := k.engine.Container(ctx, name)
		switch {
		case errors.Is(err, docker.ErrNotFound):
		case err != nil:
			return found{}, classed(err)
		case c.Labels[LabelManaged] == "": // made by another program, and left alone
		case c.ID == k.memory.Container:
			f.good = &c
		case name == ContainerName:
			f.current = &c
		}
	}
	return f, nil
}

// settle has the controller that was ready last run, with its settings. ends reports
// whether the chance of the controller that is there now, to become ready, is over. settle
// returns the one that was ready last, and nil if it is gone or must wait.
func (k keeper) settle(ctx context.Context, ends func(docker.Container) bool) (*docker.Container, error) {
	f, err := k.look(ctx)
	if err != nil || f.good == nil {
		return nil, err
	}
	now := cmp.Or(f.current, f.good) // that may be tried with other settings
	isOver := ends(*now)
	if f.current != nil && !isOver {
		return nil, nil
	}
	var replaced time.Time
	if isOver {
		replaced, err = k.settings.restore()
	}
	switch {
	case f.current != nil:
		err = errors.Join(err, putBack(ctx, k.engine, ContainerName, f.good.ID, f.current.ID))
	case f.good.Name != ContainerName || !isUp(*f.good):
		err = errors.Join(err, putBack(ctx, k.engine, ContainerName, f.good.ID))
	case !replaced.IsZero() && f.good.StartedAt.After(replaced):
		err = errors.Join(err, k.engine.Restart(ctx, f.good.ID, stopGrace))
	}
	return f.good, classed(err)
}

func isUp(c docker.Container) bool { return c.Status == "running" || c.Status == "restarting" }

// fallBack is settle after a run that failed, with isRefused if its change was
// rolled back, and isJudging if it waited for the controller as it is now. Without
// either, no run judges that one: it stays if it is ready now. fallBack returns
// the image of the controller that was ready last, if that one is ready now: then
// the failure cost nothing.
func (k keeper) fallBack(ctx context.Context, isRefused, isJudging bool) (ref string, err error) {
	if k.memory.Container == "" {
		return "", nil
	}
	good, err := k.settle(ctx, func(c docker.Container) bool {
		return isRefused || !isUp(c) || !isJudging && !isReady(c)
	})
	if err != nil || good == nil {
		return "", err
	}
	now, err := k.engine.Container(ctx, good.ID)
	if err != nil {
		return "", classed(err)
	}
	if !isReady(now) {
		return "", nil
	}
	return k.memory.Image.Ref, nil
}

// isReady reports whether one look shows that the container is ready.
func isReady(c docker.Container) bool { return readyStep{stable: stableFor}.judge(c, deaths{}).ready }

// stay leaves a change alone that was rolled back before: each try would stop the
// good controller again, at each boot. It reports whether the controller that was
// ready last exists; if so, the error is the step's.
func (r *runner) stay(ctx context.Context, k keeper, why *refusal, limit time.Duration, stale <-chan struct{}) (isThere bool, err error) {
	good, err := k.settle(ctx, func(docker.Container) bool { return true })
	if err == nil && good == nil {
		return false, nil // it was removed: nothing is lost by another try
	}
	return true, r.step(contract.StepContainer, func(note func(string)) (outcome, error) {
		if err != nil {
			return outcome{}, err
		}
		note("a change that was rolled back is not tried again; waiting until the controller before is ready")
		back := readyStep{
			engine: k.engine, name: ContainerName, limit: limit, stable: stableFor, scrub: r.scrub, stale: stale,
			now: running{container: docker.Container{ID: good.ID, Name: ContainerName}, started: true},
		}
		if _, _, err := back.wait(ctx, func(string) {}); err != nil {
			return outcome{}, err
		}
		hint := "correct the image or its settings on the host: each new bootstrap.json is tried once (felhom-agentd guest set-image, guest set or provision writes one)"
		if why.Hint != "" {
			hint = why.Hint + "\n" + hint
		}
		return outcome{}, fault.WrapHint(fault.Invalid, fmt.Errorf("not tried again, because it was rolled back at %s: %s", why.Time.Format(time.DateTime+" MST"), why.Message), hint)
	})
}

// beforePull has the controller that was ready last run while the pull lasts, if the
// one that is there now was left by a run that did not end, and is not ready.
func (r *runner) beforePull(ctx context.Context, engine Engine, note func(string)) {
	if r.memory.Container == "" {
		return
	}
	good, err := keeper{engine, &r.memory, r.good}.settle(ctx, func(c docker.Container) bool { return !isReady(c) })
	if err != nil {
		note("warning: the controller before is not up during the pull: " + err.Error())
	} else if good != nil && (good.Name != ContainerName || !isUp(*good)) {
		note("the controller that was ready last runs during the pull")
	}
}

// afterLimit bounds what is done after the last step: the result is known.
const afterLimit = time.Minute

// after has the controller that was ready last run if the run failed, and removes
// images that are no longer needed. What fails here changes no result, and the
// next run does it again.
func (r *runner) after(ctx context.Context, engine Engine, failure error) {
	if ctx.Err() != nil || r.memory.Container == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, afterLimit)
	defer cancel()
	if failure != nil {
		reach, done := context.WithTimeout(ctx, engineLimit) // it may be what the run failed at
		_, err := engine.Connect(reach)
		done()
		if err != nil {
			return
		}
		kept, err := keeper{engine, &r.memory, r.good}.fallBack(ctx, r.memory.refuses(r.input) != nil, r.out.Container != "")
		if err != nil {
			r.obs.Note(contract.StepRun, r.scrub("warning: the controller before is not up: "+err.Error()))
		}
		r.out.Kept = kept
	}
	removed, err := r.memory.prune(ctx, engine)
	for _, ref := range removed {
		r.obs.Note(contract.StepRun, "removed the image "+ref)
	}
	if err != nil {
		r.obs.Note(contract.StepRun, r.scrub("warning: "+err.Error()))
	}
}
