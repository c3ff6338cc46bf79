// Package engineapi is the Docker client of tests and benchmarks: call [New], then the Engine's methods, or those of
// the Docker client in it for everything else. It shares nothing with the product's driver, so that a mistake there
// does not hide here.
package engineapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/client"
)

// Engine is a client of one engine. Its methods may be called from several goroutines.
type Engine struct{ *client.Client }

// New returns a client for host, such as unix:///run/docker.sock. It connects when used, and speaks the newest API version that both
// sides know.
func New(host string) (*Engine, error) {
	c, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("docker host %q: %w", host, err)
	}
	return &Engine{c}, nil
}

// Close closes idle connections.
func (e *Engine) Close() { _ = e.Client.Close() }

// IsNotFound reports whether err means that the engine has no such container or image.
func IsNotFound(err error) bool { return errdefs.IsNotFound(err) }

// Answers returns nil if the engine answers.
func (e *Engine) Answers(ctx context.Context) error {
	_, err := e.Ping(ctx)
	return err
}

// Version returns the engine's own version and its newest API version.
func (e *Engine) Version(ctx context.Context) (engine, api string, err error) {
	v, err := e.ServerVersion(ctx)
	return v.Version, v.APIVersion, err
}

// Labelled returns the IDs of all containers, running or not, with the label.
func (e *Engine) Labelled(ctx context.Context, label string) ([]string, error) {
	list, err := e.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", label))})
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids, err
}

// Run creates and starts a container, and returns its ID. The name may be empty.
func (e *Engine) Run(ctx context.Context, name string, config *container.Config, host *container.HostConfig) (id string, err error) {
	created, err := e.ContainerCreate(ctx, config, host, nil, nil, name)
	if err != nil {
		return "", err
	}
	return created.ID, e.ContainerStart(ctx, created.ID, container.StartOptions{})
}

// WaitHealth waits for the container's health test to give the status, such as "healthy", until ctx is done or the container has ended.
func (e *Engine) WaitHealth(ctx context.Context, id, status string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := e.ContainerInspect(ctx, id)
		switch {
		case err != nil:
			return err
		case c.State.Health == nil:
			return fmt.Errorf("container %s has no health test", c.Name)
		case c.State.Health.Status == status:
			return nil
		case c.State.Status == container.StateExited:
			return fmt.Errorf("container %s ended with status %d", c.Name, c.State.ExitCode)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("container %s: want %s, got %s: %w", c.Name, status, c.State.Health.Status, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Remove removes a container, running or not, with its anonymous volumes. A missing one is not an error.
func (e *Engine) Remove(ctx context.Context, id string) error {
	err := e.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if IsNotFound(err) {
		return nil
	}
	return err
}

// RemoveImage removes an image by its reference. A missing one is not an error.
func (e *Engine) RemoveImage(ctx context.Context, reference string) error {
	_, err := e.ImageRemove(ctx, reference, image.RemoveOptions{Force: true})
	if IsNotFound(err) {
		return nil
	}
	return err
}

// ImageID returns the ID of an image by its reference, or "" if there is none.
func (e *Engine) ImageID(ctx context.Context, reference string) (string, error) {
	found, err := e.ImageInspect(ctx, reference)
	if IsNotFound(err) {
		return "", nil
	}
	return found.ID, err
}

// Pull pulls a reference. Both credentials empty means none.
func (e *Engine) Pull(ctx context.Context, reference, username, password string) error {
	var o image.PullOptions
	if username != "" || password != "" {
		auth, err := registry.EncodeAuthConfig(registry.AuthConfig{Username: username, Password: password})
		if err != nil {
			return err
		}
		o.RegistryAuth = auth
	}
	stream, err := e.ImagePull(ctx, reference, o)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	// A pull may end with an error in its stream, after its status was 200.
	for messages := json.NewDecoder(stream); ; {
		var message struct{ Error string }
		switch err := messages.Decode(&message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("pull %s: %w", reference, err)
		case message.Error != "":
			return fmt.Errorf("pull %s: %s", reference, message.Error)
		}
	}
}
