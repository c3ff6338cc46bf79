package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"

	"github.com/felhom/felhom-golden/internal/termtext"
)

// Container is a container of the engine.
type Container struct {
	ID, Name   string // Name without the leading slash
	Image      string // the reference it was created from
	ImageID    string
	Created    string // RFC 3339
	Labels     map[string]string
	Status     string // created, running, restarting, paused, exited, dead
	Health     string // "", starting, healthy, unhealthy; "" without a health test
	HealthSays string // the last output of the health test; "" if there was none or it never ran
	Restarts   int
	ExitCode   int
	Error      string // the engine's reason why it does not run
	StartedAt  time.Time
}

// Spec is what a container is created from.
type Spec struct {
	Name        string
	Image       string // reference or ID
	Labels      map[string]string
	Ports       []string // Docker's short syntax: "127.0.0.1:8080:8080/tcp"
	Binds       []string // Docker's short syntax: "/host:/container:ro"
	Environment []string // "KEY=value", sorted by the caller
	ExtraHosts  []string // "name:address"
	Command     []string // nil: the image's own
	Network     string   // "": the engine's default
	Memory      int64    // bytes; 0: without a limit
	Health      *Health  // when to run the image's own test; nil: as the image says
}

func parsePorts(ports []string) (nat.PortSet, nat.PortMap, error) {
	exposed, bindings := nat.PortSet{}, nat.PortMap{}
	for _, text := range ports {
		parsed, err := nat.ParsePortSpec(text)
		if err != nil {
			return nil, nil, fmt.Errorf("port %q: %w", text, err)
		}
		for _, p := range parsed {
			exposed[p.Port] = struct{}{}
			bindings[p.Port] = append(bindings[p.Port], p.Binding)
		}
	}
	return exposed, bindings, nil
}

// Container returns the container of that name or ID; ErrNotFound if none exists.
func (c *Client) Container(ctx context.Context, name string) (Container, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	got, err := c.api().ContainerInspect(ctx, name)
	if err != nil {
		if isNotFound(err) {
			return Container{}, fmt.Errorf("container %s: %w", name, ErrNotFound)
		}
		return Container{}, c.fault("inspect container "+name, err, imageNames(name))
	}
	out := Container{
		ID: got.ID, Name: strings.TrimPrefix(got.Name, "/"), ImageID: got.Image, Created: got.Created, Restarts: got.RestartCount,
	}
	if got.Config != nil {
		out.Image, out.Labels = got.Config.Image, got.Config.Labels
	}
	if s := got.State; s != nil {
		out.Status, out.ExitCode, out.Error = s.Status, s.ExitCode, s.Error
		if s.Health != nil && s.Health.Status != container.NoHealthcheck {
			out.Health = s.Health.Status
			out.HealthSays = lastWords(s.Health.Log)
		}
		out.StartedAt, _ = time.Parse(time.RFC3339Nano, s.StartedAt) // unreadable counts as never started
	}
	return out, nil
}

// maxHealthWords bounds the output of a health test: it comes from the
// controller, and messages show it.
const maxHealthWords = 300

// lastWords returns the output of the last health test in one line, or its exit
// code if it failed without output.
func lastWords(log []*container.HealthcheckResult) string {
	if len(log) == 0 || log[len(log)-1] == nil {
		return ""
	}
	last := log[len(log)-1]
	words := termtext.Line(last.Output, maxHealthWords)
	if words == "" && last.ExitCode != 0 {
		words = fmt.Sprintf("exit code %d", last.ExitCode)
	}
	return words
}

// Create makes a container, which the engine restarts unless it is stopped, and
// returns its ID. It does not start it.
func (c *Client) Create(ctx context.Context, spec Spec) (string, error) {
	exposed, bindings, err := parsePorts(spec.Ports)
	if err != nil {
		return "", err
	}
	config := &container.Config{
		Image: spec.Image, Labels: spec.Labels, Env: spec.Environment, ExposedPorts: exposed, Cmd: spec.Command,
	}
	if h := spec.Health; h != nil {
		// An empty Test makes the engine take the image's.
		config.Healthcheck = &container.HealthConfig{Interval: h.Interval, StartPeriod: h.StartPeriod, Retries: h.Retries}
		if c.KnowsStartInterval() {
			config.Healthcheck.StartInterval = h.StartInterval
		}
	}
	host := &container.HostConfig{
		PortBindings: bindings, Binds: spec.Binds, ExtraHosts: spec.ExtraHosts, NetworkMode: container.NetworkMode(spec.Network),
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		Resources:     container.Resources{Memory: spec.Memory},
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	made, err := c.api().ContainerCreate(ctx, config, host, nil, nil, spec.Name)
	if err != nil {
		return "", c.fault("create container "+spec.Name, err, spec.names())
	}
	return made.ID, nil
}

// KnowsStartInterval reports whether the engine runs a health test more often
// while a container starts. Before Connect the result has no meaning.
func (c *Client) KnowsStartInterval() bool {
	return versions.GreaterThanOrEqualTo(c.api().ClientVersion(), startIntervalAPI)
}

// Start starts a container that is not running; a running one stays as it is.
func (c *Client) Start(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	return c.containerFault(ctx, "start container "+short(id), id, c.api().ContainerStart(ctx, id, container.StartOptions{}))
}

// Stop asks the container to end and kills it after grace.
func (c *Client) Stop(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	return c.containerFault(ctx, "stop container "+short(id), id, c.api().ContainerStop(ctx, id, container.StopOptions{Timeout: seconds(grace)}))
}

// Restart is Stop and Start in one request.
func (c *Client) Restart(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	return c.containerFault(ctx, "restart container "+short(id), id, c.api().ContainerRestart(ctx, id, container.StopOptions{Timeout: seconds(grace)}))
}

// Remove removes the container, running or not, with its anonymous volumes. It
// returns nil if there is none.
func (c *Client) Remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	err := c.api().ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if isNotFound(err) {
		return nil
	}
	return c.containerFault(ctx, "remove container "+short(id), id, err)
}

// Rename gives the container another name.
func (c *Client) Rename(ctx context.Context, id, name string) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	return c.fault("rename container "+short(id)+" to "+name, c.api().ContainerRename(ctx, id, name), imageNames(id), imageNames(name))
}

// maxLogBytes bounds what Logs reads: the last lines of a controller, not its history.
const maxLogBytes = 256 << 10

// Logs returns the last lines that the container wrote to either stream.
func (c *Client) Logs(ctx context.Context, id string, lines int) (_ string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	body, err := c.api().ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(lines)})
	if err != nil {
		return "", c.fault("read the log of "+short(id), err)
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	var out strings.Builder
	// Both streams into one, to keep their order.
	if _, err := stdcopy.StdCopy(&out, &out, io.LimitReader(body, maxLogBytes)); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("read the log of %s: %w", short(id), err)
	}
	return out.String(), nil
}

func short(id string) string {
	if len(id) == 64 {
		return id[:12]
	}
	return id
}
