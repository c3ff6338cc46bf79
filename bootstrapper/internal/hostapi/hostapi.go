// Package hostapi is the guest's client of the local API: who am I, and reports
// of progress. It trusts a host by its pin alone, sends the token nowhere
// else, follows no redirect and uses no proxy. It decides nothing about the
// run: what a refusal means is its caller's business.
package hostapi

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
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/pin"
)

// Client speaks to one host. The zero Client speaks to none: each call fails.
// Set the fields before the first call; then it is safe for concurrent use.
type Client struct {
	Endpoint contract.Endpoint
	Pins     pin.Set
	Token    contract.Secret
	Timeout  time.Duration // for one call; 3 s where zero
	// Dial replaces the connection to the endpoint; nil dials TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	once sync.Once
	http *http.Client
}

// StatusError is an answer that is not a success.
type StatusError struct {
	Method, Path string
	Code         int           // HTTP status
	Message      string        // the host's own sentence; may be empty
	RetryAfter   time.Duration // what the host asked for; 0 where it did not
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s %s: the host answers %d %s", e.Method, e.Path, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Guest asks who the host takes the caller for. Errors are *pin.MismatchError
// (somewhere in the chain), *StatusError, or of the network.
func (c *Client) Guest(ctx context.Context) (contract.Guest, error) {
	var guest contract.Guest
	err := c.call(ctx, http.MethodGet, contract.PathGuest, nil, &guest)
	return guest, err
}

// Report sends one report. Sending the same again changes nothing.
func (c *Client) Report(ctx context.Context, report contract.Report) error {
	return c.call(ctx, http.MethodPost, contract.PathReports, report, nil)
}

// retryAfter reads the header's form in seconds, the one that the host uses.
func retryAfter(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 300)) * time.Second
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
				Proxy:               nil, // the host is next door, and a proxy would see the pin fail
				DialContext:         dial,
				TLSClientConfig:     pin.ClientTLS(c.Pins),
				MaxConnsPerHost:     1, // one handshake a run
				TLSHandshakeTimeout: c.timeout(),
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
	return 3 * time.Second
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) (err error) {
	if c.Endpoint.IsZero() {
		return errors.New("no local API is configured")
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
	data, err := io.ReadAll(io.LimitReader(resp.Body, contract.MaxResponseBytes))
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		var problem contract.Problem
		_ = json.Unmarshal(data, &problem) // a body of another form has no message for us
		return &StatusError{
			Method: method, Path: path, Code: resp.StatusCode, Message: problem.Message,
			RetryAfter: retryAfter(resp.Header.Get("Retry-After")),
		}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not what the local API gives: %w", method, path, err)
	}
	return nil
}
