package provision

import (
	"context"
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Rotate gives guest vmid, which must be known, a new token in its mount. The
// token in use stays valid until the new one is first used or the overlap has
// passed, so that no request fails meanwhile.
func (p *Provisioner) Rotate(ctx context.Context, vmid int) (Registered, error) {
	if _, err := p.options.Store.Get(vmid); err != nil {
		return Registered{}, unknownGuest(vmid, err)
	}
	return p.Register(ctx, vmid)
}

// Revoke ends all tokens of guest vmid at once and returns how many they were. It
// waits for no other command: one that is writing a token into the guest's mount
// ends with a revoked token there.
func (p *Provisioner) Revoke(ctx context.Context, vmid int) (ended int, err error) {
	ended, err = p.options.Store.Revoke(ctx, vmid)
	return ended, unknownGuest(vmid, err)
}

// unknownGuest gives an error about a missing record its kind and a hint.
func unknownGuest(vmid int, err error) error {
	if errors.Is(err, guests.ErrNotFound) {
		return fault.WrapHint(fault.NotFound, fmt.Errorf("guest %d: %w", vmid, ErrKnownNothing), "felhom-agentd guest list shows the known guests; guest add or provision makes one known")
	}
	return err
}
