package guests

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
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

// maxPending bounds the tokens of commands that ended before they confirmed.
const maxPending = 64

// Mint gives guest vmid a new token, which is valid at once beside those that
// were. Write it into the guest's mount, then [Record.Confirm] it.
func (s *Store) Mint(ctx context.Context, vmid, idMapBase int, overlap time.Duration) (Minted, error) {
	minted := Minted{Token: token.Mint(vmid)}
	err := s.Update(ctx, vmid, func(r *Record) error {
		now := s.now().UTC().Truncate(time.Second)
		fresh := Stored{SHA256: minted.Token.Digest(), Minted: now}
		isNew := r.Version == 0
		r.IDMapBase = idMapBase
		if isNew {
			r.ID, r.Added, r.Current = rand.Text(), now, fresh
			return nil
		}
		before := *r
		before.Pending = slices.Clone(r.Pending)
		until := now.Add(overlap)
		minted.Before, minted.Overlap = &before, &until
		r.Pending = append(r.Pending, fresh)
		if over := len(r.Pending) - maxPending; over > 0 {
			r.Pending = slices.Delete(r.Pending, 0, over)
		}
		return nil
	})
	if err != nil {
		return Minted{}, fmt.Errorf("mint token of guest %d: %w", vmid, err)
	}
	return minted, nil
}

// Confirm makes the minted token, which is in the guest's mount now, the current
// one. The token that the guest uses stays valid until the new one is first used
// or the overlap has passed; others that were minted before are dropped. It is
// safe to repeat.
func (r *Record) Confirm(minted Minted, now time.Time) {
	at := slices.IndexFunc(r.Pending, func(p Stored) bool { return p.SHA256.Equal(minted.Token.Digest()) })
	if at < 0 {
		return
	}
	inUse := r.Current
	if r.Current.FirstUsed == nil && r.Previous != nil && r.Previous.ValidUntil != nil && now.Before(*r.Previous.ValidUntil) {
		inUse = *r.Previous
	}
	inUse.ValidUntil = minted.Overlap
	r.Current, r.Previous, r.Pending = r.Pending[at], &inUse, nil
}

// Confirm is [Record.Confirm] on the guest's record.
func (s *Store) Confirm(ctx context.Context, minted Minted) error {
	return s.Update(ctx, minted.Token.VMID(), func(r *Record) error {
		r.Confirm(minted, s.now())
		return nil
	})
}

// Authenticate finds the guest of tok. Any error but ErrUnknownToken means that
// the store could not be read, and says nothing about the token.
//
// A guest that does not exist costs the same comparisons as one that does.
func (s *Store) Authenticate(tok token.Token) (Match, error) {
	digest := tok.Digest()
	if err := s.refresh(false, readPatience); err != nil {
		return Match{}, err
	}
	s.mu.Lock()
	r, known := s.index.byVMID[tok.VMID()]
	broken := s.index.broken[fileName(tok.VMID())]
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
	case known && r.pending(digest) >= 0:
		return Match{VMID: r.VMID, FirstUse: true}, nil
	}
	return Match{}, ErrUnknownToken
}

// pending returns where the token is in r.Pending, -1 where it is not.
func (r *Record) pending(digest token.Digest) int {
	found := -1
	for i, p := range r.Pending {
		if p.SHA256.Equal(digest) {
			found = i
		}
	}
	return found
}

// markUsed notes the first use of tok: the one before it ends. A pending token
// that is used has been in the mount, so that those minted before it are not.
func (r *Record) markUsed(tok token.Token, now time.Time) error {
	now = now.UTC().Truncate(time.Second)
	if r.Version == 0 {
		return errUnchanged
	}
	if at := r.pending(tok.Digest()); at >= 0 {
		r.Current, r.Pending = r.Pending[at], slices.Clone(r.Pending[at+1:])
	}
	if !r.Current.SHA256.Equal(tok.Digest()) || r.Current.FirstUsed != nil {
		return errUnchanged
	}
	r.Current.FirstUsed, r.Previous = &now, nil
	return nil
}

var errUnchanged = errors.New("nothing to change")
