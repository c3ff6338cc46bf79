package guests

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// ErrUnknownToken says that a token is no guest's, or no longer.
var ErrUnknownToken = errors.New("unknown token")

// Match is a token that was found to be a guest's.
type Match struct {
	VMID     int
	FirstUse bool // the record does not know yet that this token was used
	Previous bool // the one before the current, within its overlap
}

// Minted is the outcome of [Store.Mint].
type Minted struct {
	Token   token.Token
	Before  *Record    // nil: the guest is new
	Overlap *time.Time // until when the token in use before is still accepted; nil: there was none
}

// Mint gives guest vmid a new token. The token that the guest uses now stays
// valid until the new one is first used or overlap has passed. Minting twice
// before the guest took the first one up drops that one, not the one in use.
func (s *Store) Mint(ctx context.Context, vmid, idMapBase int, overlap time.Duration) (Minted, error) {
	minted := Minted{Token: token.Mint(vmid)}
	err := s.Update(ctx, vmid, func(r *Record) error {
		now := s.now().UTC().Truncate(time.Second)
		if r.Version == 0 {
			r.Added = now
		} else {
			before := *r
			minted.Before = &before
			inUse := r.Current
			if r.Current.FirstUsed == nil && r.Previous != nil && r.Previous.ValidUntil != nil && s.now().Before(*r.Previous.ValidUntil) {
				inUse = *r.Previous
			}
			until := now.Add(overlap)
			inUse.ValidUntil = &until
			r.Previous, minted.Overlap = &inUse, &until
		}
		r.IDMapBase = idMapBase
		r.Current = Stored{SHA256: minted.Token.Digest(), Minted: now}
		return nil
	})
	if err != nil {
		return Minted{}, fmt.Errorf("mint token of guest %d: %w", vmid, err)
	}
	return minted, nil
}

// Authenticate finds the guest of tok. Any error but ErrUnknownToken means that
// the store could not be read, and says nothing about the token.
//
// A guest that does not exist costs the same comparisons as one that does.
func (s *Store) Authenticate(tok token.Token) (Match, error) {
	digest := tok.Digest()
	s.mu.Lock()
	if err := s.refresh(false); err != nil {
		s.mu.Unlock()
		return Match{}, err
	}
	r, known := s.snap.byVMID[tok.VMID()]
	broken := s.snap.broken[fileName(tok.VMID())]
	s.mu.Unlock()
	if broken != nil {
		// Not "unknown": for a guest a refused token is final.
		return Match{}, fmt.Errorf("guest store: %w", broken)
	}

	current, previous := r.Current.SHA256, token.Digest{}
	valid := false
	if r.Previous != nil {
		previous = r.Previous.SHA256
		valid = r.Previous.ValidUntil != nil && s.now().Before(*r.Previous.ValidUntil)
	}
	isCurrent, isPrevious := digest.Equal(current), digest.Equal(previous)
	switch {
	case known && isCurrent:
		return Match{VMID: r.VMID, FirstUse: r.Current.FirstUsed == nil}, nil
	case known && isPrevious && valid:
		return Match{VMID: r.VMID, Previous: true}, nil
	}
	return Match{}, ErrUnknownToken
}

// MarkUsed notes the first use of the current token tok and ends the overlap
// with the one before. It is safe to repeat, and does nothing when the record
// has moved on meanwhile.
func (s *Store) MarkUsed(ctx context.Context, tok token.Token) error {
	err := s.Update(ctx, tok.VMID(), func(r *Record) error {
		if r.Version == 0 || !r.Current.SHA256.Equal(tok.Digest()) || r.Current.FirstUsed != nil {
			return errUnchanged
		}
		now := s.now().UTC().Truncate(time.Second)
		r.Current.FirstUsed, r.Previous = &now, nil
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return err
}

var errUnchanged = errors.New("nothing to change")
