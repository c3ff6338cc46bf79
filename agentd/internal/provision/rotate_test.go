package provision_test

import (
	"errors"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/fault"
)

func (r *rig) isReplaced(t *testing.T, tok token.Token) {
	t.Helper()
	_, err := r.store.Authenticate(tok)
	if ended, ok := errors.AsType[*guests.EndedError](err); !ok || ended.Why != guests.EndReplaced {
		t.Errorf("the old token: %v, want it replaced", err)
	}
}

// Whoever has a token from before a guest was created is another guest with its
// VMID, or a copy of one: the token ends with the creation, without an overlap.
func TestCreatingAGuestEndsOldTokens(t *testing.T) {
	r := newRig(t)
	old := r.add(t)
	r.apply(t, job(), provision.Provisioned)
	r.isReplaced(t, old)
	first, _ := r.inMount(t)
	r.isValid(t, first)
	if err := r.store.MarkUsed(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	// Destroyed by another program, and created again.
	if err := errors.Join(r.hv.Shutdown(t.Context(), vmid, time.Minute), r.hv.Destroy(t.Context(), vmid)); err != nil {
		t.Fatal(err)
	}
	r.apply(t, job(), provision.Provisioned)
	r.isReplaced(t, first)
	second, _ := r.inMount(t)
	r.isValid(t, second)
}

func TestRotate(t *testing.T) {
	r := newRig(t)
	p := provision.New(r.Options)
	if _, err := p.Rotate(t.Context(), vmid); fault.Of(err) != fault.NotFound || fault.HintOf(err) == "" {
		t.Errorf("an unknown guest: %v, want NotFound with a hint", err)
	}
	if _, err := p.Revoke(t.Context(), vmid); fault.Of(err) != fault.NotFound || fault.HintOf(err) == "" {
		t.Errorf("revoke of an unknown guest: %v, want NotFound with a hint", err)
	}
	first := r.add(t)
	rotated, err := p.Rotate(t.Context(), vmid)
	if err != nil || rotated.IsNew || rotated.Overlap == nil {
		t.Fatalf("%+v, %v", rotated, err)
	}
	second, _ := r.inMount(t)
	r.isValid(t, first)
	r.isValid(t, second)
	if n, err := p.Revoke(t.Context(), vmid); err != nil || n != 2 {
		t.Errorf("%d tokens, %v, want 2", n, err)
	}
}
