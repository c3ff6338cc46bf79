package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// containers is the part of the engine that the container step needs.
type containers interface {
	Container(ctx context.Context, name string) (docker.Container, error)
	Create(ctx context.Context, spec docker.Spec) (id string, err error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id string, grace time.Duration) error
	Restart(ctx context.Context, id string, grace time.Duration) error
	Remove(ctx context.Context, id string) error
	Rename(ctx context.Context, id, name string) error
	Watch(ctx context.Context, label string) <-chan docker.Event
	KnowsStartInterval() bool
}

// The names beside the controller's own while it is replaced.
const (
	nextSuffix     = "-next"     // created, not started
	previousSuffix = "-previous" // stopped, kept until the new one is ready
)

// stopGrace is how long a controller may take to end.
const stopGrace = 10 * time.Second

// undoLimit bounds the rollback after a failure or an interrupt.
const undoLimit = 30 * time.Second

// containerStep makes, replaces, starts or restarts the controller's container.
type containerStep struct {
	engine   containers
	plan     plan
	image    image
	settings string // path of controller.yaml; "": the container reads none
	good     string // ID of the container that was ready last; "": not known
	// refuse keeps, before a replacement is undone, why it failed. It may be nil.
	refuse func(error) error
	kept   *goodSettings
}

// running is the step's result.
type running struct {
	container   docker.Container
	started     bool     // by this step: whether it comes up is not known yet
	ports       []string // what is published, in Docker's short syntax
	unpublished string   // why nothing is published; "" if something is
	events      <-chan docker.Event
	previous    string    // ID of the container to return to; "": there is none that was ever ready
	isTrial     bool      // it is the one that was ready last, with other settings than then
	stopped     time.Time // when the one before was stopped; zero: it was not, or by an earlier run
}

func (s containerStep) run(ctx context.Context, note func(string)) (running, outcome, error) {
	spec, unpublished := s.complete()
	out, result, err := s.converge(ctx, spec, note)
	out.ports, out.unpublished = spec.Ports, unpublished
	return out, result, err
}

// complete returns what the container is created from, without image, health test
// and the bootstrapper's own labels, and why it publishes no port; "" if it
// publishes one.
func (s containerStep) complete() (spec docker.Spec, unpublished string) {
	spec = s.plan.spec
	if s.plan.exposed {
		spec.Ports, unpublished = publish(s.image.Ports)
	}
	switch {
	case unpublished != "" || len(spec.Ports) > 0 && !containerspec.HidesPorts(spec.Network):
	case spec.Network == "host":
		// It is in the guest's own network, where everything that it opens is reached.
	case containerspec.HidesPorts(spec.Network):
		unpublished = "it is in the network " + spec.Network
	case s.plan.exposed:
		unpublished = "its image exposes none: set ports"
	default:
		unpublished = "ports is an empty list"
	}
	return spec, unpublished
}

// converge brings the container to what spec says.
func (s containerStep) converge(ctx context.Context, spec docker.Spec, note func(string)) (running, outcome, error) {
	name := spec.Name
	want := hash(spec, s.image.ID)
	current, previous, back, err := s.present(ctx, name)
	if err != nil {
		return running{}, outcome{}, err
	}
	if current == nil {
		note("creating")
		out, err := s.first(ctx, spec, want)
		return out, outcome{Outcome: Changed, Message: "created"}, err
	}
	if current.Labels[LabelSpec] != want || current.Status == "dead" {
		if previous != nil && previous.Labels[LabelSpec] == want {
			note("putting the previous container back")
			out := running{container: *previous, started: true, stopped: time.Now(), events: s.engine.Watch(ctx, LabelManaged)}
			err := classed(putBack(ctx, s.engine, name, previous.ID, current.ID))
			return out, outcome{Outcome: Changed, Message: "put the previous container back"}, err
		}
		note("replacing")
		x := exchange{old: *current, keep: previous, isGood: previous == nil && (back != "" || s.isGood(*current))}
		out, err := s.replace(ctx, x, spec, want)
		return out, outcome{Outcome: Changed, Message: back + "replaced"}, err
	}
	out := running{container: *current}
	if previous != nil { // a run ended before this one was ready
		out.previous, out.started = previous.ID, true
	}
	return s.start(ctx, out, back, note)
}

// present returns the container of that name, and the one to return to if the
// first one does not become ready. What an interrupted run left is put in order:
// only a container that has been ready is ever kept aside.
func (s containerStep) present(ctx context.Context, name string) (current, previous *docker.Container, back string, err error) {
	var next *docker.Container
	for _, one := range []struct {
		name string
		is   **docker.Container
	}{{name + nextSuffix, &next}, {name + previousSuffix, &previous}, {name, &current}} {
		if *one.is, err = s.find(ctx, one.name); err != nil {
			return nil, nil, "", err
		}
	}
	if next != nil { // it was never started
		if err := s.engine.Remove(ctx, next.ID); err != nil {
			return nil, nil, "", classed(err)
		}
	}
	switch {
	case previous == nil:
	case current == nil: // a run was killed between the two renames
		if err := s.engine.Rename(ctx, previous.ID, name); err != nil {
			return nil, nil, "", classed(err)
		}
		current, previous, back = previous, nil, "put the previous container back; "
		current.Name = name
	case s.isGood(*current): // a run was killed after the new one was ready
		if err := s.engine.Remove(ctx, previous.ID); err != nil {
			return nil, nil, "", classed(err)
		}
		previous = nil
	}
	return current, previous, back, nil
}

// isGood reports whether a container is one to return to: it was ready, or is
// ready now.
func (s containerStep) isGood(c docker.Container) bool {
	return c.ID == s.good || isReady(c)
}

// start has a container that is as it must be run with the newest settings.
func (s containerStep) start(ctx context.Context, out running, back string, note func(string)) (running, outcome, error) {
	current := out.container
	out.isTrial = out.previous == "" && current.ID == s.good && s.kept.isTrial()
	switch current.Status {
	case "running", "restarting":
		newer, err := s.settingsNewer(current.StartedAt)
		if err != nil {
			return running{}, outcome{}, err
		}
		if !newer {
			result := outcome{Outcome: Unchanged}
			if back != "" {
				result = outcome{Outcome: Repaired, Message: back + "it runs"}
			}
			return out, result, nil
		}
		note("restarting: the settings changed")
		out.events, out.started, out.stopped = s.engine.Watch(ctx, LabelManaged), true, time.Now()
		if err := s.engine.Restart(ctx, current.ID, stopGrace); err != nil {
			return running{}, outcome{}, classed(err)
		}
		return out, outcome{Outcome: Changed, Message: "restarted for the new settings"}, nil
	}
	note("starting")
	out.events, out.started = s.engine.Watch(ctx, LabelManaged), true
	if err := s.engine.Start(ctx, current.ID); err != nil {
		if out.previous != "" {
			err = s.undo(ctx, current.Name, out.previous, err, current.ID)
		}
		return running{}, outcome{}, classed(err)
	}
	return out, outcome{Outcome: Repaired, Message: fmt.Sprintf("%sit was %s; started", back, current.Status)}, nil
}

// find returns the container of that name, nil if it does not exist, and refuses
// one that the bootstrapper did not create.
func (s containerStep) find(ctx context.Context, name string) (*docker.Container, error) {
	c, err := s.engine.Container(ctx, name)
	if errors.Is(err, docker.ErrNotFound) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, classed(err)
	}
	if c.Labels[LabelManaged] == "" {
		return nil, fault.WrapHint(fault.Invalid,
			fmt.Errorf("container %s was not created by the bootstrapper (no label %s): id %.12s, image %s, created %s, %s",
				name, LabelManaged, c.ID, c.Image, c.Created, c.Status),
			fmt.Sprintf("it was left alone; rename it (docker rename %s NEWNAME) or remove it, then run again", name))
	}
	return &c, nil
}

// settingsNewer reports whether the container was started before the settings
// were written. The file's time survives a run that died between the two.
func (s containerStep) settingsNewer(started time.Time) (bool, error) {
	if s.settings == "" {
		return false, nil
	}
	info, err := os.Stat(s.settings)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", filepath.Base(s.settings), err)
	}
	return info.ModTime().After(started), nil
}

func (s containerStep) create(ctx context.Context, spec docker.Spec, name, want string) (string, error) {
	spec.Name, spec.Image = name, s.image.Ref
	labels := map[string]string{LabelManaged: "controller", LabelSpec: want}
	maps.Copy(labels, spec.Labels) // it has none of these: containerspec.Check refuses them
	spec.Labels = labels
	spec.Health = schedule(s.image.Health, s.engine.KnowsStartInterval())
	id, err := s.engine.Create(ctx, spec)
	return id, classed(err)
}

// first creates the container if none exists. A container that does not start
// is removed: engines would leave it as Created.
func (s containerStep) first(ctx context.Context, spec docker.Spec, want string) (running, error) {
	id, err := s.create(ctx, spec, spec.Name, want)
	if err != nil {
		return running{}, err
	}
	events := s.engine.Watch(ctx, LabelManaged)
	if err := s.engine.Start(ctx, id); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
		defer cancel()
		return running{}, classed(errors.Join(err, s.engine.Remove(undo, id)))
	}
	return running{container: docker.Container{ID: id, Name: spec.Name}, started: true, events: events}, nil
}

// exchange is the containers before a replacement.
type exchange struct {
	old    docker.Container  // has the controller's name
	isGood bool              // old was ready
	keep   *docker.Container // the one to return to if old was never ready; nil: there is none
}

// replace creates the new container first, so that what the engine refuses at
// once costs nothing, and then exchanges the two. On an error the one that was
// ready last runs again under its name.
func (s containerStep) replace(ctx context.Context, x exchange, spec docker.Spec, want string) (_ running, err error) {
	name, old := spec.Name, x.old
	id, err := s.create(ctx, spec, name+nextSuffix, want)
	if err != nil {
		return running{}, err
	}
	out := running{container: docker.Container{ID: id, Name: name}, started: true, previous: old.ID}
	aside, drop := func() error { return s.engine.Rename(ctx, old.ID, name+previousSuffix) }, []string{id}
	if !x.isGood { // it was given its chance, and was never ready
		aside, drop, out.previous = func() error { return s.engine.Remove(ctx, old.ID) }, []string{id, old.ID}, ""
		if x.keep != nil {
			out.previous = x.keep.ID
		}
	}
	out.events, out.stopped = s.engine.Watch(ctx, LabelManaged), time.Now()
	if err := s.engine.Stop(ctx, old.ID, stopGrace); err != nil {
		_, restoreErr := s.kept.restore()
		return running{}, classed(errors.Join(err, restoreErr, putBack(ctx, s.engine, name, old.ID, id)))
	}
	for _, step := range []func() error{
		aside,
		func() error { return s.engine.Rename(ctx, id, name) },
		func() error { return s.engine.Start(ctx, id) },
	} {
		if err := step(); err != nil {
			return running{}, s.undo(ctx, name, out.previous, err, drop...)
		}
	}
	return out, nil
}

// undo returns to the container back after the failure err of a replacement, and
// removes those of drop. Without back, only the new ones are removed, and the
// failure stays one that is tried again.
func (s containerStep) undo(ctx context.Context, name, back string, err error, drop ...string) error {
	if back != "" && ctx.Err() == nil && s.refuse != nil {
		err = errors.Join(err, s.refuse(classed(err)))
	}
	var undone error
	if back != "" {
		_, undone = s.kept.restore()
	}
	undone = errors.Join(undone, putBack(ctx, s.engine, name, back, drop...))
	err = classed(errors.Join(err, undone))
	if back != "" && undone == nil { // it was stopped and runs again
		err = fault.Wrap(rolledBack(ctx, fault.Of(err)), err)
	}
	return err
}

// rolledBack returns the error of a replacement that was undone, as one that is
// not tried again: with the same input, each try would stop the running
// controller once more. An interrupt says nothing about the input and keeps its
// kind.
func rolledBack(ctx context.Context, class fault.Kind) fault.Kind {
	if ctx.Err() != nil {
		return class
	}
	return fault.Invalid
}

// putBack removes the containers of drop and starts the container back under its
// name; "" starts none. Each part is safe to repeat, so it does not matter where
// the replacement stopped. No two of them ever run at a time.
func putBack(ctx context.Context, engine containers, name, back string, drop ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	var err error
	for _, id := range drop {
		err = errors.Join(err, engine.Remove(ctx, id))
	}
	if back == "" || err != nil { // one that cannot be removed may still run
		return err
	}
	old, err := engine.Container(ctx, back)
	if err == nil && old.Name != name {
		err = engine.Rename(ctx, back, name)
	}
	if err != nil {
		return err
	}
	return engine.Start(ctx, back)
}
