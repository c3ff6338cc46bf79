package guests_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
)

func assertEnded(t *testing.T, s *guests.Store, tok token.Token, name string, want guests.EndReason) {
	t.Helper()
	_, err := s.Authenticate(tok)
	ended, isEnded := errors.AsType[*guests.EndedError](err)
	if !isEnded || ended.Why != want || ended.VMID != tok.VMID() || !errors.Is(err, guests.ErrUnknownToken) {
		t.Errorf("%s token: %v, want it %s", name, err, want)
	}
}

func TestRevoke(t *testing.T) {
	b := open(t)
	if _, err := b.Revoke(t.Context(), 8200); !errors.Is(err, guests.ErrNotFound) {
		t.Errorf("an unknown guest: %v, want an error", err)
	}
	previous := mint(t, b.Store, 8200)
	use(t, b.Store, previous)
	current := mint(t, b.Store, 8200)
	pending, err := b.Mint(t.Context(), 8200, 100000, overlap) // of a command that is under way
	if err != nil {
		t.Fatal(err)
	}
	other := mint(t, b.Store, 8201)
	if n, err := b.Revoke(t.Context(), 8200); err != nil || n != 3 {
		t.Errorf("%d tokens, %v, want 3", n, err)
	}
	for name, tok := range map[string]token.Token{"previous": previous, "current": current, "pending": pending.Token} {
		assertEnded(t, b.Store, tok, name, guests.EndRevoked)
		assertEnded(t, b.another(t), tok, name+", in another process,", guests.EndRevoked)
		if err := b.MarkUsed(t.Context(), tok); err != nil {
			t.Error(err)
		}
		assertEnded(t, b.Store, tok, name+", after a use that was under way,", guests.EndRevoked)
	}
	assertToken(t, b.Store, other, "other guest's", true)
	if err := b.Confirm(t.Context(), pending); err != nil { // the command ends
		t.Fatal(err)
	}
	assertEnded(t, b.Store, pending.Token, "confirmed", guests.EndRevoked)
	if r, err := b.Get(8200); err != nil || !r.IsRevoked() {
		t.Errorf("record %+v, %v, want it revoked", r, err)
	}
	if n, err := b.Revoke(t.Context(), 8200); err != nil || n != 0 {
		t.Errorf("again: %d tokens, %v, want none", n, err)
	}
	// No token has the digest of no token.
	assertToken(t, b.Store, token.Mint(8200), "another", false)
	next, err := b.Mint(t.Context(), 8200, 100000, overlap)
	if err != nil || next.Overlap != nil {
		t.Fatalf("overlap %v, %v, want none", next.Overlap, err)
	}
	if err := b.Confirm(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	assertToken(t, b.Store, next.Token, "next", true)
	assertEnded(t, b.Store, current, "revoked", guests.EndRevoked)
}

func TestReplacedTokensAreRemembered(t *testing.T) {
	b := open(t)
	first := mint(t, b.Store, 8200)
	use(t, b.Store, first)
	unused := mint(t, b.Store, 8200)
	second := mint(t, b.Store, 8200)
	assertEnded(t, b.Store, unused, "unused", guests.EndReplaced)
	use(t, b.Store, second)
	assertEnded(t, b.Store, first, "first", guests.EndReplaced)
	third := mint(t, b.Store, 8200)
	b.clock.advance(2 * overlap)
	assertEnded(t, b.Store, second, "expired", guests.EndReplaced)
	assertToken(t, b.Store, third, "third", true)
	at, err := b.Mint(t.Context(), 8200, 100000, 0) // for a guest that was created again
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Confirm(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	assertEnded(t, b.Store, third, "third, without an overlap,", guests.EndReplaced)
	for range 100 {
		use(t, b.Store, mint(t, b.Store, 8200))
	}
	r, err := b.Get(8200)
	data, encodeErr := json.Marshal(r)
	if err := errors.Join(err, encodeErr); err != nil || len(r.Ended) != 32 || len(data) > 8<<10 {
		t.Errorf("%d ended tokens in %d bytes, %v, want the last 32", len(r.Ended), len(data), err)
	}
}

// A change that the guest never reads does not give the token in use a new life: one that was
// to end, by guest rotate or by its age, ends, however many changes follow.
func TestOverlapOfATokenThatEnds(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	in := func(d time.Duration) *time.Time { at := now.Add(d); return &at }
	stored := func(text string, age time.Duration, used, until *time.Time) guests.Stored {
		return guests.Stored{SHA256: token.Sum(text), Minted: now.Add(-age), FirstUsed: used, ValidUntil: until}
	}
	for name, c := range map[string]struct {
		current, previous guests.Stored
		expireAfter, want time.Duration
	}{
		"rotated":                   {stored("new", 0, nil, nil), stored("old", 90*day, in(-90*day), in(2*day)), 0, 2 * day},
		"rotated a while ago":       {stored("new", day, nil, nil), stored("old", 90*day, in(-90*day), in(time.Hour)), 0, day},
		"rotated, with an age":      {stored("new", 0, nil, nil), stored("old", 10*day, in(-9*day), in(2*day)), 60 * day, 2 * day},
		"changed":                   {stored("new", 0, nil, nil), stored("old", 90*day, in(-90*day), in(guests.UntilUsed)), 0, guests.UntilUsed},
		"changed, with an age":      {stored("new", 0, nil, nil), stored("old", 50*day, in(-50*day), in(10*day)), 60 * day, 10 * day},
		"changed before the age":    {stored("new", 0, nil, nil), stored("old", 50*day, in(-50*day), in(guests.UntilUsed)), 60 * day, 10 * day},
		"the one before has ended":  {stored("new", 5*day, nil, nil), stored("old", 90*day, in(-90*day), in(-day)), 0, guests.UntilUsed},
		"the new one is used by it": {stored("new", 5*day, in(-day), nil), stored("old", 90*day, in(-90*day), in(day)), 60 * day, 55 * day},
	} {
		r := guests.Record{Version: 1, Current: c.current, Previous: &c.previous}
		if got := r.OverlapOf(contract.ProfileFelhom, now, day, c.expireAfter); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
