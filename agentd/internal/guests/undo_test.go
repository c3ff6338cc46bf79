package guests_test

import (
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
