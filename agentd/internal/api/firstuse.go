package api

import (
	"context"
	"errors"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// markRetry is the wait after the store could not be written. On pmxcfs without
// quorum each try would fail, and tokens work without it.
const markRetry = 30 * time.Second

// busyLimit is for how long a busy store has a guest wait: on a cluster's file
// system a write can block for as long as the nodes have not agreed who is there,
// and tokens work without it.
const busyLimit = 10 * time.Second

// markUsed records the first use of tok, and returns false if the store is too
// busy for it. If the store cannot be written, or stays busy, guests are served
// all the same: until the use is noted, the token before it works as well.
func (s *Server) markUsed(ctx context.Context, tok token.Token) bool {
	s.mu.Lock()
	wait := s.now().Before(s.retryAt[tok.VMID()])
	s.mu.Unlock()
	if wait {
		return true
	}
	e := Event{Kind: TokenFirstUsed, VMID: tok.VMID(), Digest: tok.Digest().Short()}
	err := s.guests.MarkUsed(ctx, tok)
	if errors.Is(err, guests.ErrBusy) && !s.isBusyForLong(tok.VMID()) {
		return false
	}
	s.mu.Lock()
	delete(s.busySince, tok.VMID())
	if err != nil {
		s.retryAt[tok.VMID()] = s.now().Add(markRetry)
		e.Kind, e.Err = StoreFailed, err
	}
	s.mu.Unlock()
	s.event(e)
	return true
}

// isBusyForLong notes that the store was too busy for a guest's first use, and
// reports whether it has been for busyLimit.
func (s *Server) isBusyForLong(vmid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, isKnown := s.busySince[vmid]
	if !isKnown {
		since = s.now()
		s.busySince[vmid] = since
	}
	return s.now().Sub(since) >= busyLimit
}
