package guests_test

import (
	"errors"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
)

// A command that is undone must not give a guest the tokens again that were
// revoked while it ran.
func TestAnUndoneMintDoesNotUndoARevocation(t *testing.T) {
	b := open(t)
	first := mint(t, b.Store, 8200)
	use(t, b.Store, first)
	second := mint(t, b.Store, 8200)
	minted, err := b.Mint(t.Context(), 8200, 100000, overlap)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Revoke(t.Context(), 8200); err != nil {
		t.Fatal(err)
	}
	if err := b.Replace(t.Context(), 8200, minted.Before); err != nil {
		t.Fatal(err)
	}
	assertEnded(t, b.Store, first, "first", guests.EndRevoked)
	assertEnded(t, b.Store, second, "second", guests.EndRevoked)
	assertEnded(t, b.Store, minted.Token, "undone", guests.EndRevoked)
	if r, err := b.Get(8200); err != nil || !r.IsRevoked() || r.IDMapBase != minted.Before.IDMapBase {
		t.Errorf("%+v, %v", r, err)
	}
	// A new token works, and an undo without a revocation restores all.
	third := mint(t, b.Store, 8200)
	again, err := b.Mint(t.Context(), 8200, 100000, overlap)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Replace(t.Context(), 8200, again.Before); err != nil {
		t.Fatal(err)
	}
	assertToken(t, b.Store, third, "third", true)
	assertToken(t, b.Store, again.Token, "dropped", false)
}

// What happens to a guest's disk while a command gives it a token ends that token too,
// and its undo brings none back; the guest stays trusted until it is revoked.
func TestTokensEndWithTheDisk(t *testing.T) {
	b := open(t)
	isOwed := func(what string, want, isRevoked bool) {
		t.Helper()
		if r, err := b.another(t).Get(8200); err != nil || r.IsOwed != want || r.IsRevoked() != isRevoked {
			t.Errorf("%s: owed %v, revoked %v, %v, want %v and %v", what, r.IsOwed, r.IsRevoked(), err, want, isRevoked)
		}
	}
	first := mint(t, b.Store, 8200)
	use(t, b.Store, first)
	minted, err := b.Mint(t.Context(), 8200, 100000, overlap)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{2, 0} {
		if n, err := b.End(t.Context(), 8200); err != nil || n != want {
			t.Errorf("end %d: %d, %v, want %d", i, n, err, want)
		}
		isOwed("ended", true, false)
	}
	if err := b.Replace(t.Context(), 8200, minted.Before); err != nil {
		t.Fatal(err)
	}
	assertEnded(t, b.Store, first, "first", guests.EndDisk)
	assertEnded(t, b.Store, minted.Token, "undone", guests.EndDisk)
	isOwed("after the undo", true, false)
	fresh := mint(t, b.Store, 8200)
	isOwed("with a new token", false, false)
	assertToken(t, b.Store, fresh, "new", true)
	assertEnded(t, b.Store, first, "first", guests.EndDisk)
	if _, err := b.End(t.Context(), 8200); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Revoke(t.Context(), 8200); err != nil || n != 0 {
		t.Errorf("revoke: %d, %v", n, err)
	}
	isOwed("revoked", false, true)
	if _, err := b.End(t.Context(), 8200); err != nil {
		t.Fatal(err)
	}
	isOwed("ended after it was revoked", false, true)
	if _, err := b.End(t.Context(), 8299); !errors.Is(err, guests.ErrNotFound) {
		t.Errorf("an unknown guest: %v", err)
	}
}

// A guest that was revoked gets no token but by a command that succeeds, whatever
// happened to its disk while one ran that is undone.
func TestAnUndoneMintOwesARevokedGuestNothing(t *testing.T) {
	end := func(t *testing.T, b bed) {
		t.Helper()
		if _, err := b.End(t.Context(), 8200); err != nil {
			t.Fatal(err)
		}
	}
	revoke := func(t *testing.T, b bed) {
		t.Helper()
		if _, err := b.Revoke(t.Context(), 8200); err != nil {
			t.Fatal(err)
		}
	}
	nothing := func(*testing.T, bed) {}
	for name, c := range map[string]struct {
		before, meanwhile []func(*testing.T, bed)
		isOwed            bool
	}{
		"ended, then revoked":            {nil, []func(*testing.T, bed){end, revoke}, false},
		"revoked, then ended":            {nil, []func(*testing.T, bed){revoke, end}, false},
		"owed, then ended and revoked":   {[]func(*testing.T, bed){end}, []func(*testing.T, bed){end, revoke}, false},
		"owed, then revoked":             {[]func(*testing.T, bed){end}, []func(*testing.T, bed){revoke}, false},
		"revoked before, then ended":     {[]func(*testing.T, bed){revoke}, []func(*testing.T, bed){end}, false},
		"owed before, then revoked once": {[]func(*testing.T, bed){end, revoke}, []func(*testing.T, bed){nothing}, false},
		"owed before":                    {[]func(*testing.T, bed){end}, []func(*testing.T, bed){nothing}, true},
		"ended":                          {nil, []func(*testing.T, bed){end}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			first := mint(t, b.Store, 8200)
			use(t, b.Store, first)
			for _, step := range c.before {
				step(t, b)
			}
			minted, err := b.Mint(t.Context(), 8200, 100000, overlap)
			if err != nil {
				t.Fatal(err)
			}
			for _, step := range c.meanwhile {
				step(t, b)
			}
			if err := b.Replace(t.Context(), 8200, minted.Before); err != nil {
				t.Fatal(err)
			}
			if r, err := b.Get(8200); err != nil || r.IsOwed != c.isOwed || r.IsRevoked() == c.isOwed {
				t.Errorf("owed %v, revoked %v, %v, want owed %v", r.IsOwed, r.IsRevoked(), err, c.isOwed)
			}
		})
	}
}
