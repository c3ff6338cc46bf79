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
}

// running is the step's result.
type running struct {
	container   docker.Container
	started     bool     // by this step: whether it comes up is not known yet
	ports       []string // what is published, in Docker's short syntax
	unpublished string   // why nothing is published; "" if something is
	events      <-chan docker.Event
	previous    string // ID of the container that was replaced; "" if none was
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
	previous, err := s.find(ctx, name+previousSuffix)
	if err != nil {
		return running{}, outcome{}, err
	}
	current, err := s.find(ctx, name)
	if err != nil {
		return running{}, outcome{}, err
	}
	back := ""
	if current == nil && previous != nil { // a run was killed between the two renames
		if err := s.engine.Rename(ctx, previous.ID, name); err != nil {
			return running{}, outcome{}, classed(err)
		}
		current, previous, back = previous, nil, "put the previous container back; "
	}
	if current == nil {
		note("creating")
		out, err := s.first(ctx, spec, want)
		return out, outcome{Outcome: Changed, Message: "created"}, err
	}
	out := running{container: *current}
	if previous != nil {
		out.previous = previous.ID
	}
	if current.Labels[LabelSpec] != want || current.Status == "dead" {
		if previous != nil {
			// This removes the one before last: a rollback must return to what
			// was running when this run began.
			if err := s.engine.Remove(ctx, previous.ID); err != nil {
				return running{}, outcome{}, classed(err)
			}
		}
		note("replacing")
		out, err = s.replace(ctx, *current, spec, want)
		return out, outcome{Outcome: Changed, Message: back + "replaced"}, err
	}
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
		out.events, out.started = s.engine.Watch(ctx, LabelManaged), true
		if err := s.engine.Restart(ctx, current.ID, stopGrace); err != nil {
			return running{}, outcome{}, classed(err)
		}
		return out, outcome{Outcome: Changed, Message: "restarted for the new settings"}, nil
	}
	note("starting")
	out.events, out.started = s.engine.Watch(ctx, LabelManaged), true
	if err := s.engine.Start(ctx, current.ID); err != nil {
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

// replace creates the new container first, so that what the engine refuses at
// once costs nothing, and then exchanges the two. On an error the old one runs
// again under its name.
func (s containerStep) replace(ctx context.Context, old docker.Container, spec docker.Spec, want string) (_ running, err error) {
	name := spec.Name
	if leftover, err := s.find(ctx, name+nextSuffix); err != nil {
		return running{}, err
	} else if leftover != nil {
		if err := s.engine.Remove(ctx, leftover.ID); err != nil {
			return running{}, classed(err)
		}
	}
	id, err := s.create(ctx, spec, name+nextSuffix, want)
	if err != nil {
		return running{}, err
	}
	out := running{container: docker.Container{ID: id, Name: name}, started: true, previous: old.ID}
	out.events = s.engine.Watch(ctx, LabelManaged)
	steps := []func() error{
		func() error { return s.engine.Stop(ctx, old.ID, stopGrace) },
		func() error { return s.engine.Rename(ctx, old.ID, name+previousSuffix) },
		func() error { return s.engine.Rename(ctx, id, name) },
		func() error { return s.engine.Start(ctx, id) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			undone := putBack(ctx, s.engine, name, id, old.ID)
			err = classed(errors.Join(err, undone))
			if i > 0 && undone == nil { // the old one was stopped and runs again
				err = fault.Wrap(rolledBack(ctx, fault.Of(err)), err)
			}
			return running{}, err
		}
	}
	return out, nil
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

// putBack removes the new container and starts the old one under its name. Each
// part is safe to repeat, so it does not matter where the replacement stopped.
func putBack(ctx context.Context, engine containers, name, newID, oldID string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	err := engine.Remove(ctx, newID)
	if old, findErr := engine.Container(ctx, oldID); findErr != nil {
		return errors.Join(err, findErr)
	} else if old.Name != name {
		err = errors.Join(err, engine.Rename(ctx, oldID, name))
	}
	return errors.Join(err, engine.Start(ctx, oldID))
}
