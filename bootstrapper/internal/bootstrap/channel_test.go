package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/localapi"
)

// answering is a host that gives every caller one status.
type answering int

func (code answering) Guest(context.Context) (contract.Guest, error) {
	return contract.Guest{}, &localapi.StatusError{Method: "GET", Path: contract.PathGuest, Code: int(code)}
}

// TestAHostInTroubleIsReached: an answer proves address, port and firewall, so
// the message must not point there.
func TestAHostInTroubleIsReached(t *testing.T) {
	for _, code := range []int{421, 429, 500, 503} {
		out, err := channelStep{host: answering(code), endpoint: "192.0.2.1:8443"}.run(t.Context(), func(string) {})
		if err != nil || out.Outcome != Degraded {
			t.Fatalf("%d: %+v, %v, want degraded", code, out, err)
		}
		if want := fmt.Sprintf("the host answers %d, continuing without it", code); !strings.Contains(out.Message, want) {
			t.Errorf("message %q, want %q", out.Message, want)
		}
		if want := "look at felhom-agentd's log on the host"; out.Hint != want {
			t.Errorf("hint %q, want %q", out.Hint, want)
		}
	}
}

// early is a guest whose network comes after a while.
type early struct {
	began time.Time
	after time.Duration
	err   error // until then
}

func (e early) Guest(context.Context) (contract.Guest, error) {
	if time.Since(e.began) < e.after {
		return contract.Guest{}, &url.Error{Op: "Get", URL: "https://192.0.2.1:8443/guest", Err: e.err}
	}
	return contract.Guest{Guest: 8200}, nil
}

// TestEarlyIsNotDegraded: without network-online.target before it, the run begins
// before the guest has an address.
func TestEarlyIsNotDegraded(t *testing.T) {
	dial := func(errno syscall.Errno) error { return &net.OpError{Op: "dial", Net: "tcp", Err: errno} }
	for _, test := range []struct {
		name  string
		after time.Duration
		err   error
		want  Outcome
		least time.Duration
		most  time.Duration
	}{
		{"no route for three seconds", 3 * time.Second, dial(syscall.ENETUNREACH), Unchanged, 3 * time.Second, 3500 * time.Millisecond},
		{"address not confirmed yet", time.Second, dial(syscall.EADDRNOTAVAIL), Unchanged, time.Second, 1500 * time.Millisecond},
		{"no name server yet", time.Second, &net.DNSError{Err: "server misbehaving", IsTemporary: true}, Unchanged, time.Second, 1500 * time.Millisecond},
		{"no network at all", time.Hour, dial(syscall.ENETUNREACH), Degraded, 29 * time.Second, 30 * time.Second},
		{"host down", time.Hour, dial(syscall.ECONNREFUSED), Degraded, 0, 0},
		{"no such name", time.Hour, &net.DNSError{Err: "no such host", IsNotFound: true}, Degraded, 0, 0},
		{"unknown", time.Hour, errors.New("moon"), Degraded, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, notes := time.Now(), 0
				s := channelStep{host: early{began, test.after, test.err}, endpoint: "192.0.2.1:8443", networkWait: 30 * time.Second}
				out, err := s.run(t.Context(), func(string) { notes++ })
				took := time.Since(began)
				if err != nil || out.Outcome != test.want || took < test.least || took > test.most {
					t.Errorf("%+v, %v after %s; want %s after %s to %s", out, err, took, test.want, test.least, test.most)
				}
				if waited := test.most > 0; (notes == 1) != waited {
					t.Errorf("%d notes about waiting", notes)
				}
			})
		})
	}
}
