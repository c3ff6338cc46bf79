package registryproxy

import (
	"cmp"
	"context"
	"errors"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what guests and registries can cost the host.
type Limits struct {
	PerGuest int // requests under way that a registry is asked for; default 6
	// Total are those of all guests, beside the two that each guest has for
	// itself; default 64.
	Total int
	Wait  time.Duration // for one of them to end; default 30 s
	Stall time.Duration // without a byte, on either side; default 1 min
	// Longest is how long one blob may take if its size at MinRate does not take
	// longer: no transfer is ended that moves at that rate; default 2 h.
	Longest time.Duration
	// MinRate is the least that either side must move while it is waited for, in
	// bytes a second, measured over a time of Stall; default 4 KiB.
	MinRate int64
	// Answer is how long a manifest, and a token, may take to its last byte; default 30 s.
	Answer  time.Duration
	MaxBlob int64         // bytes of a blob; default 32 GiB
	Check   time.Duration // between two looks at the token; default 1 s
	Burst   int           // requests of one guest at once; default 2000
	// PerSecond are its requests that follow; default 20. Each can be a line of
	// the log and a question to a registry.
	PerSecond float64
}

// answerTimeout is the default of Answer.
const answerTimeout = 30 * time.Second

// ownSlots are the requests that a guest may have under way however many the
// others have.
const ownSlots = 2

func (l Limits) withDefaults() Limits {
	return Limits{
		PerGuest: cmp.Or(l.PerGuest, 6), Total: cmp.Or(l.Total, 64), Wait: cmp.Or(l.Wait, 30*time.Second), Stall: cmp.Or(l.Stall, time.Minute),
		Answer: cmp.Or(l.Answer, answerTimeout), Longest: cmp.Or(l.Longest, 2*time.Hour), MinRate: cmp.Or(l.MinRate, 4<<10), MaxBlob: cmp.Or(l.MaxBlob, 32<<30), Check: cmp.Or(l.Check, time.Second),
		Burst: cmp.Or(l.Burst, 2000), PerSecond: cmp.Or(l.PerSecond, 20),
	}
}

// smallBlob is a size that MinRate moves within the default of Longest.
const smallBlob = 16 << 20

// longest is how long a blob of that size may take.
func (l Limits) longest(size int64) time.Duration {
	if size < smallBlob {
		return l.Longest
	}
	return max(l.Longest, time.Duration(size/l.MinRate)*time.Second)
}

// slots is a number of requests that may be under way.
type slots chan struct{}

// guestLimits bound one guest.
type guestLimits struct {
	most     slots // of PerGuest
	own      slots // those of them that no other guest can have
	requests *rate.Limiter
}

func (p *Proxy) limitsOf(vmid int) *guestLimits {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.guests[vmid]
	if l == nil {
		l = &guestLimits{make(slots, p.limits.PerGuest), make(slots, ownSlots), rate.NewLimiter(rate.Limit(p.limits.PerSecond), p.limits.Burst)}
		p.guests[vmid] = l
	}
	return l
}

// errSlots is the error of a guest whose other requests did not end in time.
var errSlots = errors.New("too many requests of the guest are under way")

// slot waits until the guest may have another request under way.
func (p *Proxy) slot(ctx context.Context, vmid int) (release func(), err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.limits.Wait, errSlots)
	defer cancel()
	l := p.limitsOf(vmid)
	select {
	case l.most <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select { // its own first, so that those of all are there for who needs them
	case l.own <- struct{}{}:
		return func() { <-l.own; <-l.most }, nil
	default:
	}
	select {
	case l.own <- struct{}{}:
		return func() { <-l.own; <-l.most }, nil
	case p.all <- struct{}{}:
		return func() { <-p.all; <-l.most }, nil
	case <-ctx.Done():
		<-l.most
		return nil, context.Cause(ctx)
	}
}
