package localapi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/pin"
)

const token = "fgt_8200_secret"

// serve starts a host and returns a client that pins it.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	endpoint, err := contract.ParseEndpoint(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := contract.ParseSecret(token)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{Endpoint: endpoint, Pins: pin.Set{pin.SPKIOf(server.Certificate())}, Token: secret}
	t.Cleanup(c.Close)
	return c
}

func TestGuest(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/guest" || r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("got %s with %q", r.URL, r.Header.Get("Authorization"))
		}
		_, _ = io.WriteString(w, `{"guest":8200,"host_id":"h","agent":"1","time":"2026-01-31T12:00:00Z"}`)
	})
	got, err := c.Guest(t.Context())
	want := contract.Guest{Guest: 8200, HostID: "h", Agent: "1", Time: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Guest: %v\n%s", err, diff)
	}
}

func TestWrongPinSendsNoRequest(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	other, err := pin.ParseSPKI("uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=")
	if err != nil {
		t.Fatal(err)
	}
	c.Pins = pin.Set{other}
	_, err = c.Guest(t.Context())
	if _, ok := errors.AsType[*pin.MismatchError](err); !ok {
		t.Errorf("error is %v, want a *pin.MismatchError in the chain", err)
	}
}

func TestRefusalsKeepCodeAndMessageButNoToken(t *testing.T) {
	for _, code := range []int{401, 403, 500, 302} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"error":"x","message":"because"}`)
		})
		_, err := c.Guest(t.Context())
		status, ok := errors.AsType[*StatusError](err)
		if !ok || status.Code != code || status.Message != "because" {
			t.Errorf("%d: error is %v", code, err)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("the error holds the token: %v", err)
		}
	}
}

func TestHostThatHangsCostsTheTimeout(t *testing.T) {
	release := make(chan struct{})
	c := serve(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c.Timeout = 50 * time.Millisecond
	if _, err := c.Guest(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v, want a deadline", err)
	}
}

// The first packet of a connection is lost, as while the bridge learns where the guest
// is: that costs one call its timeout, and later calls nothing. The client has
// one connection at a time, and net/http continues a dial after its request.
func TestALostConnectionCostsOneCall(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"guest":8200}`) })
	c.Timeout = 2 * time.Second
	var dials atomic.Int32
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) == 1 { // the kernel would send the packet again after 1 s, 3 s, 7 s, …
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-t.Context().Done():
				return nil, context.Cause(t.Context())
			}
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	if _, err := c.Guest(t.Context()); err == nil {
		t.Fatal("the first call succeeded")
	}
	var err error
	for range 10 { // a busy machine may need another one
		if _, err = c.Guest(t.Context()); err == nil {
			return
		}
	}
	t.Errorf("after %d dials: %v", dials.Load(), err)
}

func TestZeroClientFails(t *testing.T) {
	if _, err := new(Client).Guest(t.Context()); err == nil {
		t.Error("the zero client reached a host")
	}
}
