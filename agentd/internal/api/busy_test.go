package api_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
)

// stuck is a store whose writes do not end in time, as on a cluster's file system
// whose nodes have not agreed who is there.
type stuck struct {
	*guests.Store
	tries int
	ends  bool
}

func (s *stuck) MarkUsed(ctx context.Context, tok token.Token) error {
	s.tries++
	if s.ends {
		return s.Store.MarkUsed(ctx, tok)
	}
	return fmt.Errorf("%w: not on disk after 5s", guests.ErrBusy)
}

// A token works without its first use being noted: a store that stays busy has a
// guest wait for a time, not for as long as it stays so.
func TestFirstUseBesideAStoreThatStaysBusy(t *testing.T) {
	b := newBed(t, 8200)
	store := &stuck{Store: b.store}
	b.Server = api.New(api.Options{
		Guests: store, Storage: b.storage, HostID: "demo", Version: "v1", Hosts: []string{hostPort}, ReportsPerMinute: 600, Now: b.clock,
		Event: func(e api.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		},
	})
	ask := func(want int) {
		t.Helper()
		if got := b.ask(http.MethodGet, contract.PathStorage, b.tokens[8200].Reveal(), ""); got.status != want {
			t.Errorf("%d %s, want %d", got.status, got.body, want)
		}
	}
	ask(http.StatusServiceUnavailable)
	b.advance(5 * time.Second)
	ask(http.StatusServiceUnavailable)
	b.advance(5 * time.Second)
	ask(http.StatusOK)
	tries := store.tries
	ask(http.StatusOK)
	if store.tries != tries || b.count(api.StoreFailed) != 1 {
		t.Errorf("%d tries, %d before; %d events, want one", store.tries, tries, b.count(api.StoreFailed))
	}
	store.ends = true
	b.advance(time.Minute)
	ask(http.StatusOK)
	if b.count(api.TokenFirstUsed) != 1 {
		t.Error("the first use is not noted when the store answers again")
	}
}
