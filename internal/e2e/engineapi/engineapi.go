// Package engineapi is a hand-written client of the few calls of the Docker
// Engine API that tests and benchmarks need. It shares nothing with the
// product's driver, so that tests look at the engine with other eyes, and
// brings no dependency, so that the benchmark's floor is one. It negotiates no
// API version: calls without one get the engine's newest.
package engineapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ErrNoSuchContainer says that the engine knows no container of that name or ID.
var ErrNoSuchContainer = errors.New("no such container")

// Engine is a client of one engine, over a Unix socket. Safe for concurrent use.
type Engine struct {
	client *http.Client
}

// New returns a client for host, "unix://PATH". It connects when used.
func New(host string) *Engine {
	socket := strings.TrimPrefix(host, "unix://")
	return &Engine{client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Close closes idle connections.
func (e *Engine) Close() { e.client.CloseIdleConnections() }

// Container is what is looked at of a container.
type Container struct {
	ID    string `json:"Id"`
	Name  string
	Image string // image ID
	State struct {
		Status     string // created, running, exited, ...
		Running    bool
		ExitCode   int
		StartedAt  string
		Health     *struct{ Status string } // nil without a health test
		Restarting bool
	}
	Config struct {
		Image  string
		Labels map[string]string
		Env    []string
	}
	RestartCount int
}

// Ping asks whether the engine answers.
func (e *Engine) Ping(ctx context.Context) error {
	return e.Do(ctx, http.MethodGet, "/_ping", nil, nil, nil)
}

// Version returns the engine's own version and its newest API version.
func (e *Engine) Version(ctx context.Context) (engine, api string, err error) {
	var v struct{ Version, APIVersion string }
	err = e.Do(ctx, http.MethodGet, "/version", nil, nil, &struct {
		Version    *string
		ApiVersion *string //nolint:revive // the API's own spelling
	}{&v.Version, &v.APIVersion})
	return v.Version, v.APIVersion, err
}

// Inspect returns the container of that name or ID, or ErrNoSuchContainer.
func (e *Engine) Inspect(ctx context.Context, name string) (Container, error) {
	var c Container
	err := e.Do(ctx, http.MethodGet, "/containers/"+url.PathEscape(name)+"/json", nil, nil, &c)
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		err = fmt.Errorf("%s: %w", name, ErrNoSuchContainer)
	}
	return c, err
}

// Labelled returns the IDs of all containers, running or not, with label.
func (e *Engine) Labelled(ctx context.Context, label string) ([]string, error) {
	filters, err := json.Marshal(map[string][]string{"label": {label}})
	if err != nil {
		return nil, err
	}
	var list []struct {
		ID string `json:"Id"`
	}
	err = e.Do(ctx, http.MethodGet, "/containers/json?all=1&filters="+url.QueryEscape(string(filters)), nil, nil, &list)
	var ids []string
	for _, c := range list {
		ids = append(ids, c.ID)
	}
	return ids, err
}

// Create makes a container from a body in the API's own form; name may be empty.
func (e *Engine) Create(ctx context.Context, name string, config any) (id string, err error) {
	var created struct {
		ID string `json:"Id"`
	}
	err = e.Do(ctx, http.MethodPost, "/containers/create?name="+url.QueryEscape(name), nil, config, &created)
	return created.ID, err
}

// Start starts a container.
func (e *Engine) Start(ctx context.Context, id string) error {
	return e.Do(ctx, http.MethodPost, "/containers/"+url.PathEscape(id)+"/start", nil, nil, nil)
}

// WaitHealth waits for the container's health test to give status, "healthy"
// or "unhealthy", until ctx is done or the container has ended.
func (e *Engine) WaitHealth(ctx context.Context, id, status string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := e.Inspect(ctx, id)
		if err != nil {
			return err
		}
		if c.State.Health == nil {
			return fmt.Errorf("container %s has no health test", c.Name)
		}
		if c.State.Health.Status == status {
			return nil
		}
		if c.State.Status == "exited" {
			return fmt.Errorf("container %s ended with status %d", c.Name, c.State.ExitCode)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("container %s is %s, want %s: %w", c.Name, c.State.Health.Status, status, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Remove removes a container, running or not, with its anonymous volumes. One
// that is not there is no error.
func (e *Engine) Remove(ctx context.Context, id string) error {
	err := e.Do(ctx, http.MethodDelete, "/containers/"+url.PathEscape(id)+"?force=1&v=1", nil, nil, nil)
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return nil
	}
	return err
}

// RemoveImage removes an image by reference. One that is not there is no error.
func (e *Engine) RemoveImage(ctx context.Context, reference string) error {
	err := e.Do(ctx, http.MethodDelete, "/images/"+reference+"?force=1", nil, nil, nil)
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return nil
	}
	return err
}

// ImageID returns the ID of an image by reference; "" when it is not there.
func (e *Engine) ImageID(ctx context.Context, reference string) (string, error) {
	var image struct {
		ID string `json:"Id"`
	}
	err := e.Do(ctx, http.MethodGet, "/images/"+reference+"/json", nil, nil, &image)
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return "", nil
	}
	return image.ID, err
}

// Pull pulls a tagged reference. Both credentials empty means none.
func (e *Engine) Pull(ctx context.Context, reference, username, password string) error {
	colon := strings.LastIndexByte(reference, ':')
	if colon < 0 || strings.ContainsRune(reference[colon:], '/') {
		return fmt.Errorf("pull %s: want a reference with a tag", reference)
	}
	header := http.Header{}
	if username != "" || password != "" {
		auth, err := json.Marshal(map[string]string{"username": username, "password": password})
		if err != nil {
			return err
		}
		header.Set("X-Registry-Auth", base64.URLEncoding.EncodeToString(auth))
	}
	query := url.Values{"fromImage": {reference[:colon]}, "tag": {reference[colon+1:]}}
	var stream pullStream
	if err := e.Do(ctx, http.MethodPost, "/images/create?"+query.Encode(), header, nil, &stream); err != nil {
		return err
	}
	if stream.err != "" {
		return fmt.Errorf("pull %s: %s", reference, stream.err)
	}
	return nil
}

// pullStream keeps the error that a pull may end with after its 200.
type pullStream struct{ err string }

func (p *pullStream) decode(r io.Reader) error {
	dec := json.NewDecoder(r)
	for {
		var message struct{ Error string }
		err := dec.Decode(&message)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if message.Error != "" {
			p.err = message.Error
		}
	}
}

// StatusError is an answer that is not a success.
type StatusError struct {
	Code    int
	Message string // the engine's own
}

func (e *StatusError) Error() string { return fmt.Sprintf("engine says %d: %s", e.Code, e.Message) }

// Do makes one call, path with its query, and decodes the answer into out
// unless it is nil. A status of 300 or more is a [*StatusError]; 304, the
// engine's "is so already", counts as success.
func (e *Engine) Do(ctx context.Context, method, path string, header http.Header, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, body)
	if err != nil {
		return err
	}
	for k, v := range header {
		req.Header[k] = slices.Clone(v)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer func() {
		_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
		_ = resp.Body.Close()
	}()
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusNotModified {
		var problem struct{ Message string }
		data, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if json.Unmarshal(data, &problem) != nil || problem.Message == "" {
			problem.Message = string(data)
		}
		return &StatusError{Code: resp.StatusCode, Message: problem.Message}
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *pullStream:
		return out.decode(resp.Body)
	default:
		return json.NewDecoder(resp.Body).Decode(out)
	}
}
