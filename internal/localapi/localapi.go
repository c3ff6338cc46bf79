// Package localapi is the client of the local API, in the types of package
// contract: set the fields of a [Client], call its methods, and [Client.Close]
// it. It trusts a host by its pin alone, sends the token nowhere else, follows
// no redirect, uses no proxy and reads no answer beyond a limit. It tries each
// request once. Package bootstrapper/localapi is the same client with types
// that other modules can name.
package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/pin"
	"github.com/felhom/felhom-golden/internal/retryafter"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Client makes requests to one host. Each call of the zero Client fails. Set
// the fields before the first call; then it is safe for concurrent use.
type Client struct {
	Endpoint contract.Endpoint
	Pins     pin.Set
	Token    contract.Secret
	Timeout  time.Duration // for one call; 3 s if zero
	// Dial replaces the connection to the endpoint; nil dials TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	once sync.Once
	http *http.Client
}

const (
	defaultTimeout = 3 * time.Second
	// idleTimeout is shorter than the host's, so that no request meets a
	// connection that the host is closing.
	idleTimeout = 45 * time.Second
	// maxRetryAfter bounds what a host can ask for.
	maxRetryAfter = 300 * time.Second
	// maxHeaderBytes bounds the header of an answer.
	maxHeaderBytes = 16 << 10
)

// ErrNoEndpoint is the error of a Client without an endpoint.
var ErrNoEndpoint = errors.New("no local API is configured")

// ErrAnswer is in the chain of an error about an answer that is not one of the
// local API: too large, or of another form.
var ErrAnswer = errors.New("not an answer of the local API")

// StatusError is an answer that is not a success.
type StatusError struct {
	Method, Path string
	Code         int           // HTTP status
	Problem      string        // the host's word for programs, such as "forbidden"; may be empty
	Message      string        // the host's own sentence; may be empty
	RetryAfter   time.Duration // the wait that the host asked for; 0 if it did not
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: the host answers %d %s", e.Method, e.Path, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Guest asks who the host takes the caller for. Errors are *pin.MismatchError
// (somewhere in the chain), *StatusError, ErrAnswer, or of the network.
func (c *Client) Guest(ctx context.Context) (contract.Guest, error) {
	var guest contract.Guest
	err := c.call(ctx, http.MethodGet, contract.PathGuest, nil, &guest)
	return guest, err
}

// Storage asks for the file systems of the caller's own guest.
func (c *Client) Storage(ctx context.Context) (contract.Storage, error) {
	var storage contract.Storage
	err := c.call(ctx, http.MethodGet, contract.PathStorage, nil, &storage)
	return storage, err
}

// GuestStorage asks for the file systems of guest vmid. The host refuses all but
// the caller's own.
func (c *Client) GuestStorage(ctx context.Context, vmid int) (contract.Storage, error) {
	var storage contract.Storage
	path := strings.Replace(contract.PathGuestStorage, "{vmid}", strconv.Itoa(vmid), 1)
	err := c.call(ctx, http.MethodGet, path, nil, &storage)
	return storage, err
}

// Report sends one report. Sending the same again changes nothing.
func (c *Client) Report(ctx context.Context, report contract.Report) error {
	return c.call(ctx, http.MethodPost, contract.PathReports, report, nil)
}

// Close ends idle connections.
func (c *Client) Close() {
	c.client().CloseIdleConnections()
}

func (c *Client) client() *http.Client {
	c.once.Do(func() {
		dial := c.Dial
		if dial == nil {
			dial = (&net.Dialer{}).DialContext
		}
		c.http = &http.Client{
			Transport: &http.Transport{
				Proxy: nil, // the host is on the same bridge, and through a proxy the pin would not match
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					// It continues after the end of the request that needs it, and others wait for it:
					// without a limit a lost packet would cost all of them what the kernel waits.
					ctx, cancel := context.WithTimeout(ctx, c.timeout())
					defer cancel()
					return dial(ctx, network, address)
				},
				TLSClientConfig:        pin.ClientTLS(c.Pins),
				MaxConnsPerHost:        1, // one handshake a run
				IdleConnTimeout:        idleTimeout,
				TLSHandshakeTimeout:    c.timeout(),
				MaxResponseHeaderBytes: maxHeaderBytes,
				DisableCompression:     true, // a compressed answer could exceed the limit once it is unpacked
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
	return c.http
}

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return defaultTimeout
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) (err error) {
	if c.Endpoint.IsZero() {
		return ErrNoEndpoint
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: encode: %w", method, path, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Endpoint.URL()+path, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token.Reveal())
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return err // url.Error names method and URL; the token is in neither
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	// Read to the end within the limit, so that the connection is used again.
	data, err := io.ReadAll(io.LimitReader(resp.Body, contract.MaxResponseBytes+1))
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return c.refused(resp, method, path, data)
	}
	if len(data) > contract.MaxResponseBytes {
		return fmt.Errorf("%s %s: %w: it exceeds the limit of %d bytes", method, path, ErrAnswer, contract.MaxResponseBytes)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s %s: %w: %w", method, path, ErrAnswer, err)
	}
	return nil
}

// maxProblemText bounds the text that an error repeats of a refusal.
const maxProblemText = 300

// refused returns the error of an answer that is not a success. The pinned host
// is trusted, but an error must not contain the token that was sent to it.
func (c *Client) refused(resp *http.Response, method, path string, body []byte) error {
	var problem contract.Problem
	if len(body) > contract.MaxResponseBytes || json.Unmarshal(body, &problem) != nil {
		problem = contract.Problem{} // a body of another form has no message to show
	}
	clean := func(text string) string {
		if secret := c.Token.Reveal(); secret != "" {
			text = strings.ReplaceAll(text, secret, c.Token.String())
		}
		return termtext.Line(text, maxProblemText)
	}
	wait, _ := retryafter.Parse(resp.Header.Get("Retry-After"), time.Now(), maxRetryAfter)
	return &StatusError{
		Method: method, Path: path, Code: resp.StatusCode, Problem: clean(problem.Error), Message: clean(problem.Message),
		RetryAfter: wait,
	}
}
