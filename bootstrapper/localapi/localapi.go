// Package localapi is a client of the local API that the host offers to its
// guests, for controllers written in Go. Call [Open] in a guest, or [New] with
// settings from elsewhere; then [Client.Guest] and [Client.Storage].
//
// It is the client that felhom-controller-bootstrap itself uses. It trusts the
// host by the pins of its certificate alone, sends the token nowhere else,
// follows no redirect, uses no proxy, and reads no answer beyond 64 KiB. It
// tries each request once. Errors are [*Error]. docs/local-api.md specifies the
// API.
package localapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/localapi"
	"github.com/felhom/felhom-golden/internal/pin"
)

// Options configure [New]: where the host is and how to recognize it. They hold
// a secret, which fmt and encoding/json leave out.
type Options struct {
	// Endpoint is "https://HOST:PORT".
	Endpoint string
	// Pins are accepted certificates: the SHA-256 of the public key in base64, with
	// or without "sha256//" before it, or that of the certificate in
	// hexadecimal digits with colons. At least one is needed.
	Pins []string
	// Token is the guest's own.
	Token string `json:"-"`
	// Timeout bounds one call; 0 means 3 s.
	Timeout time.Duration
	// Dial replaces the TCP connection to the endpoint; nil dials.
	Dial func(ctx context.Context, network, address string) (net.Conn, error) `json:"-"`
}

// Format implements [fmt.Formatter]: it prints endpoint and pins, never the token.
func (o Options) Format(w fmt.State, _ rune) {
	_, _ = io.WriteString(w, fmt.Sprintf("{%s %v}", o.Endpoint, o.Pins)) // fmt ignores errors of a formatter
}

// Client speaks to one host. It is safe for concurrent use. Call [Client.Close]
// when it is not needed any more.
type Client struct {
	options Options
	source  *source // nil: the options are fixed
	mu      sync.Mutex
	current *localapi.Client
}

// New returns a client with fixed options. The error names each option that is
// not valid, and never the token's value.
func New(o Options) (*Client, error) {
	made, err := build(o)
	if err != nil {
		return nil, &Error{Class: ClassRefused, err: err}
	}
	return &Client{options: o, current: made}, nil
}

// Open returns a client with the endpoint, pins and token of a bootstrap.json,
// usually [BootstrapFile]. If the host replaces the file, as it does to rotate
// the token, the next call uses the new one.
func Open(file string) (*Client, error) {
	s := &source{file: file}
	c := &Client{source: s}
	if err := c.reload(true); err != nil {
		return nil, &Error{Class: ClassRefused, err: err}
	}
	return c, nil
}

// build makes the inner client.
func build(o Options) (*localapi.Client, error) {
	var all []error
	endpoint, err := contract.ParseEndpoint(o.Endpoint)
	if err != nil {
		all = append(all, fmt.Errorf("endpoint: %w", err))
	}
	var pins pin.Set
	for _, text := range o.Pins {
		p, err := parsePin(text)
		if err != nil {
			all = append(all, fmt.Errorf("pin %q: %w", text, err))
		}
		pins = append(pins, p)
	}
	if len(o.Pins) == 0 {
		all = append(all, pin.ErrNoPins)
	}
	token, err := contract.ParseSecret(o.Token)
	if err != nil {
		all = append(all, fmt.Errorf("token: %w", err))
	}
	if err := errors.Join(all...); err != nil {
		return nil, err
	}
	return &localapi.Client{Endpoint: endpoint, Pins: pins, Token: token, Timeout: o.Timeout, Dial: o.Dial}, nil
}

// parsePin reads a pin of either form. Only the leaf's has colons.
func parsePin(text string) (pin.Pin, error) {
	if strings.Contains(text, ":") {
		return pin.ParseLeaf(text)
	}
	return pin.ParseSPKI(text)
}

// Close ends idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current.Close()
}

// inner returns the client for one call, from the newest bootstrap.json.
func (c *Client) inner() *localapi.Client {
	if c.source != nil {
		_ = c.reload(false) // if the file cannot be read now, what was read before stays in use
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// reload reads the file if it has changed or always is set.
func (c *Client) reload(always bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, changed, err := c.source.read(always)
	if err != nil || !changed {
		return err
	}
	made, err := build(o)
	if err != nil {
		return err
	}
	if c.current != nil {
		c.current.Close()
	}
	c.current = made
	return nil
}

// call runs one request. It repeats a refused request once if the file was
// replaced meanwhile.
func (c *Client) call(do func(*localapi.Client) error) error {
	used := c.inner()
	err := do(used)
	if class := localapi.ClassOf(err); c.source != nil && (class == localapi.NoToken || class == localapi.OtherHost) {
		if c.reload(true) == nil {
			if next := c.inner(); next != used {
				err = do(next)
			}
		}
	}
	return wrap(err)
}

// Guest is who the caller is to the host.
type Guest struct {
	VMID     int       // of the guest
	HostID   string    // as in bootstrap.json
	Agent    string    // version of felhom-agentd
	HostTime time.Time // the host's clock
}

// Guest asks who the host takes the caller for.
func (c *Client) Guest(ctx context.Context) (Guest, error) {
	var out contract.Guest
	err := c.call(func(to *localapi.Client) (err error) { out, err = to.Guest(ctx); return err })
	return Guest{VMID: out.Guest, HostID: out.HostID, Agent: out.Agent, HostTime: out.Time}, err
}

// StorageState reports whether a guest has room left.
type StorageState string

// The storage states.
const (
	StorageOK      StorageState = "ok"
	StorageLow     StorageState = "low"     // less than a tenth of a file system is available
	StorageFull    StorageState = "full"    // nothing of a file system is available
	StorageUnknown StorageState = "unknown" // the host has no figures
)

// Storage is what the host knows of a guest's file systems.
type Storage struct {
	State       StorageState
	VMID        int
	Filesystems []Filesystem
}

// Filesystem is one file system, in bytes. Used and available need not add up to
// the size: file systems keep a reserve.
type Filesystem struct {
	Path                  string // in the guest, "/" for its root
	Size, Used, Available uint64
}

// Storage asks for the file systems of the caller's own guest. After a rotation,
// this request ends the previous token.
func (c *Client) Storage(ctx context.Context) (Storage, error) {
	var out contract.Storage
	err := c.call(func(to *localapi.Client) (err error) { out, err = to.Storage(ctx); return err })
	return storageOf(out), err
}

// GuestStorage asks for the file systems of guest vmid. The host refuses every
// guest but the caller's own.
func (c *Client) GuestStorage(ctx context.Context, vmid int) (Storage, error) {
	var out contract.Storage
	err := c.call(func(to *localapi.Client) (err error) { out, err = to.GuestStorage(ctx, vmid); return err })
	return storageOf(out), err
}

func storageOf(from contract.Storage) Storage {
	out := Storage{State: StorageState(from.Storage), VMID: from.Guest}
	for _, f := range from.Filesystems {
		out.Filesystems = append(out.Filesystems, Filesystem{Path: f.Path, Size: f.SizeBytes, Used: f.UsedBytes, Available: f.AvailableBytes})
	}
	return out
}

// Report is one event of one run of the bootstrap, in the words of
// docs/local-api.md. Run and Sequence identify it.
type Report struct {
	Run      string // 1 to 64 letters, digits, hyphens and underscores
	Sequence uint64 // from 1, rising within a run
	Time     time.Time
	Step     string // "mount", "channel", "engine", "image", "settings", "container", "ready" or "run"
	State    string // "started", "done", "failed", "degraded" or "skipped"
	Result   string // "", "unchanged", "changed" or "repaired"
	Message  string
	Hint     string
	Class    string // as docs/exit-codes.md names it
	ExitCode int
	Duration time.Duration
	Version  string // of the program that reports
}

// Report sends one report. Sending the same again changes nothing. What the host
// would refuse as invalid is refused before it is sent.
func (c *Client) Report(ctx context.Context, r Report) error {
	out := contract.Report{
		Run: r.Run, Sequence: r.Sequence, Time: r.Time, Step: contract.Step(r.Step), State: contract.State(r.State), Result: contract.Result(r.Result),
		Message: r.Message, Hint: r.Hint, Class: r.Class, ExitCode: r.ExitCode, DurationMS: r.Duration.Milliseconds(), Version: r.Version,
	}
	data, err := json.Marshal(out)
	if err == nil {
		_, err = contract.ParseReport(data)
	}
	if err != nil {
		return &Error{Class: ClassRefused, err: fmt.Errorf("report: %w", err)}
	}
	return c.call(func(to *localapi.Client) error { return to.Report(ctx, out) })
}
