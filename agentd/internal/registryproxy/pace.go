package registryproxy

import (
	"errors"
	"sync/atomic"
	"time"
)

var (
	errSlowGuest    = errors.New("the guest reads too slowly")
	errSlowRegistry = errors.New("the registry sends too slowly")
)

// side is how long one side of a stream was waited for.
type side struct {
	since atomic.Int64 // when the wait under way began; 0: none is
	total atomic.Int64
}

func (s *side) begin() { s.since.Store(time.Now().UnixNano()) }

func (s *side) end() {
	if since := s.since.Swap(0); since != 0 {
		s.total.Add(time.Now().UnixNano() - since)
	}
}

func (s *side) waited() time.Duration {
	all := s.total.Load()
	if since := s.since.Load(); since != 0 {
		all += time.Now().UnixNano() - since
	}
	return time.Duration(all)
}

// pace finds the side that moves next to nothing: one byte from time to time
// does not count as a stall, and would hold a slot for hours.
type pace struct {
	began           time.Time
	sent            int64
	guest, registry time.Duration
}

// judge looks at a stream, and returns why it has to end after a window of time
// in which one side was waited for and moved less than its rate.
func (p *pace) judge(s *stream) error {
	now := pace{began: time.Now(), sent: s.sent.Load(), guest: s.guest.waited(), registry: s.registry.waited()}
	if p.began.IsZero() {
		*p = now
		return nil
	}
	limits := s.proxy.limits
	// Nothing at all is a stall, which has its own limit and reason.
	if now.began.Sub(p.began) < limits.Stall || now.began.Sub(time.Unix(0, s.touched.Load())) > limits.Stall/2 {
		return nil
	}
	guest, registry, moved := now.guest-p.guest, now.registry-p.registry, float64(now.sent-p.sent)
	*p = now
	isSlow := func(waited time.Duration) bool {
		return waited >= limits.Stall/2 && moved < waited.Seconds()*float64(limits.MinRate)
	}
	switch {
	case guest >= registry && isSlow(guest):
		return errSlowGuest
	case isSlow(registry):
		return errSlowRegistry
	}
	return nil
}
