// Package docker talks to the Docker Engine: call [New], then [Client.Connect],
// then the methods for images, containers and their events. It has its own
// small types and classifies failures ([KindOf]). It uses API 1.41 (Engine
// 20.10) and later through the Docker client library, which no other package
// imports. It keeps nothing on disk: no config.json, no login.
//
// It does not know bootstrap.json; the programs convert.
package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"

	"github.com/felhom/felhom-golden/internal/termtext"
)

// ErrNotFound means that the engine has no such image or container. It is final
// until one is created.
var ErrNotFound = errors.New("not found")

// oldestAPI is the API of Engine 20.10, the oldest that is tested.
const oldestAPI = "1.41"

// startIntervalAPI is the first API with Healthcheck.StartInterval. The client
// library refuses the field locally below it.
const startIntervalAPI = "1.44"

// Client uses one engine. Its methods may be called from several goroutines.
type Client struct {
	host string
	// current speaks the version that the last Connect negotiated. A client of
	// the library is not changed once others can see it: the library reads its
	// version without a lock.
	current  atomic.Pointer[client.Client]
	stall    time.Duration         // how long a pull may move nothing
	received func() (int64, error) // the bytes that the engine's network received
	limit    time.Duration         // of a request; of Watch until its answer begins
}

// requestLimit bounds each request but Pull and Load, which end when nothing moves:
// an engine that hangs answers none. It is longer than what any of them takes on a
// slow disk.
const requestLimit = 10 * time.Minute

// Engine is what Connect found out about the engine.
type Engine struct {
	API string // the version both sides speak: "1.41"
}

// New returns a client for the engine at host, a URL such as
// unix:///run/docker.sock. It does not connect. It ignores DOCKER_API_VERSION
// and the other DOCKER_* variables: a pinned version would disable the
// negotiation.
func New(host string) (*Client, error) {
	c := &Client{host: host, stall: StallLimit, received: received, limit: requestLimit}
	api, err := c.open()
	if err != nil {
		return nil, err
	}
	c.current.Store(api)
	return c, nil
}

// open returns a client of the library with the newest version it speaks.
func (c *Client) open() (*client.Client, error) {
	api, err := client.NewClientWithOpts(client.WithHost(c.host), client.WithTraceProvider(noTrace()))
	if err != nil {
		return nil, fmt.Errorf("docker host %q: %w", c.host, err)
	}
	return api, nil
}

func (c *Client) api() *client.Client { return c.current.Load() }

// Close ends idle connections.
func (c *Client) Close() error { return c.api().Close() }

// Connect asks the engine for its version and negotiates the API version. It is
// one request, and must come before any other method; later ones follow an
// engine that was replaced.
func (c *Client) Connect(ctx context.Context) (Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	ping, err := c.api().Ping(ctx)
	if err != nil {
		return Engine{}, c.fault("reach the engine", err)
	}
	api, err := c.open()
	if err != nil {
		return Engine{}, err
	}
	api.NegotiateAPIVersionPing(ping)
	version := api.ClientVersion()
	if version != c.api().ClientVersion() {
		_ = c.current.Swap(api).Close() // ends idle connections; streams continue
	}
	if versions.LessThan(version, oldestAPI) {
		return Engine{API: version}, &FaultError{
			Op: "reach the engine", Kind: APIVersion,
			Err: fmt.Errorf("the engine at %s speaks API %s, want %s or later", c.host, version, oldestAPI),
		}
	}
	return Engine{API: version}, nil
}

// fault wraps an error of the client library, sentinel or classified, of a request
// with those names.
func (c *Client) fault(op string, err error, of ...names) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", op, context.Canceled)
	}
	kind := c.kind(err, of...)
	if kind == NotFoundHere {
		return fmt.Errorf("%s: %w", op, ErrNotFound)
	}
	return &FaultError{Op: op, Kind: kind, Err: &textError{text: text(err), cause: err}}
}

// zstdAPI is the API of Engine 23, the first that reads layers of zstd.
const zstdAPI = "1.42"

// kind classifies err by the engine's age as well: the text by which an old
// engine rejects zstd means a damaged layer in an engine that reads zstd.
func (c *Client) kind(err error, of ...names) Kind {
	kind := classify(err, of...)
	if kind == ZstdLayers && !versions.LessThan(c.api().ClientVersion(), zstdAPI) {
		return BadLayer
	}
	return kind
}

// maxText bounds an engine's message: it may quote a whole page.
const maxText = 1000

// text is the engine's message in one line, without the prefix every message has.
func text(err error) string {
	return termtext.Line(strings.TrimPrefix(err.Error(), "Error response from daemon: "), maxText)
}

// textError has another text than its cause, and unwraps to it.
type textError struct {
	text  string
	cause error
}

func (e *textError) Error() string { return e.text }
func (e *textError) Unwrap() error { return e.cause }

func isNotFound(err error) bool { return errdefs.IsNotFound(err) }

func seconds(d time.Duration) *int {
	n := int(d / time.Second)
	return &n
}
