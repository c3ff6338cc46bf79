package api_test

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/internal/contract"
)

// foreign finds each request to come from elsewhere.
type foreign struct{ reason origin.Reason }

func (f foreign) Check(_ context.Context, source netip.Addr, vmid int) error {
	return &origin.Mismatch{Reason: f.reason, Guest: vmid, Source: source}
}

func originBed(t *testing.T, checker api.Origin, enforce bool) *bed {
	b := newBed(t, 8200)
	b.Server = api.New(api.Options{
		Guests: b.store, Storage: b.storage, HostID: "demo", Version: "v1", Hosts: []string{hostPort}, Origin: checker, EnforceOrigin: enforce,
		ReportsPerMinute: 600, Now: b.clock, Event: func(e api.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		},
	})
	return b
}

// A stolen token reaches nothing: it is refused before any route, and its use
// from elsewhere does not count as its first use.
func TestTokenFromElsewhereReachesNothing(t *testing.T) {
	for _, reason := range origin.Reasons {
		b := originBed(t, foreign{reason}, true)
		want := http.StatusForbidden
		if slices.Contains([]origin.Reason{origin.Failed, origin.Moved, origin.NoNeighbor, origin.NoPort}, reason) {
			want = http.StatusServiceUnavailable
		}
		for _, route := range b.Routes() {
			got := b.ask(route.Method, pathOf(route, 8200), b.tokens[8200].Reveal(), bodyOf(route))
			if got.status != want || got.header.Get("Connection") != "close" {
				t.Errorf("%s: %s %s: %d %v, want %d and the end of the connection", reason, route.Method, route.Path, got.status, got.header, want)
			}
		}
		if n := b.count(api.ElsewhereDenied); n == 0 || b.count(api.TokenFirstUsed) != 0 {
			t.Errorf("%s: %d events of refusals, %d of first uses", reason, n, b.count(api.TokenFirstUsed))
		}
		for _, tok := range []string{"", "fgt_8200_x"} {
			if got := b.ask(http.MethodGet, contract.PathGuest, tok, ""); got.status != http.StatusUnauthorized {
				t.Errorf("without a valid token: %d", got.status)
			}
		}
	}
}

func TestObservedOriginRefusesNothing(t *testing.T) {
	b := originBed(t, foreign{origin.OtherPort}, false)
	const asked = 50
	for range asked {
		if got := b.ask(http.MethodGet, contract.PathGuest, b.tokens[8200].Reveal(), ""); got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	if n := b.count(api.ElsewhereSeen); n == 0 || n > 5 {
		t.Errorf("%d events of %d requests, want 1 to 5", n, asked)
	}
	b.advance(time.Minute)
	before := b.count(api.ElsewhereSeen)
	b.ask(http.MethodGet, contract.PathGuest, b.tokens[8200].Reveal(), "")
	if n := b.count(api.ElsewhereSeen); n != before+1 {
		t.Errorf("a minute later: %d events, want %d", n, before+1)
	}
}
