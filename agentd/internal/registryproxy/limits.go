package registryproxy

import (
	"context"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// Limits bound what guests and registries can cost the host.
type Limits struct {
	PerGuest int           // requests under way that a registry is asked for; default 6
	Total    int           // of all guests; default 64
	Wait     time.Duration // for one of them to end; default 30 s
	Stall    time.Duration // without a byte, on either side; default 1 min
	Longest  time.Duration // of one blob; default 2 h
	MaxBlob  int64         // bytes of a blob of which no manifest was read; default 32 GiB
	Check    time.Duration // between two looks at the token; default 1 s
	Burst    int           // requests of one guest at once; default 2000
	// PerSecond are its requests that follow; default 20. Each can be a line of
	// the log and a question to a registry.
	PerSecond float64
}

func (l Limits) withDefaults() Limits {
	def := Limits{PerGuest: 6, Total: 64, Wait: 30 * time.Second, Stall: time.Minute, Longest: 2 * time.Hour, MaxBlob: 32 << 30, Check: time.Second, Burst: 2000, PerSecond: 20}
	for _, d := range []struct{ value, otherwise *time.Duration }{{&l.Wait, &def.Wait}, {&l.Stall, &def.Stall}, {&l.Longest, &def.Longest}, {&l.Check, &def.Check}} {
		if *d.value == 0 {
			*d.value = *d.otherwise
		}
	}
	if l.PerGuest == 0 {
		l.PerGuest = def.PerGuest
	}
	if l.Total == 0 {
		l.Total = def.Total
	}
	if l.Burst == 0 {
		l.Burst = def.Burst
	}
	if l.PerSecond == 0 {
		l.PerSecond = def.PerSecond
	}
	if l.MaxBlob == 0 {
		l.MaxBlob = def.MaxBlob
	}
	return l
}

// guestLimits bound one guest.
type guestLimits struct {
	slots    *semaphore.Weighted
	requests *rate.Limiter
}

func (p *Proxy) limitsOf(vmid int) *guestLimits {
	p.mu.Lock()
	defer p.mu.Unlock()
	own := p.guests[vmid]
	if own == nil {
		own = &guestLimits{semaphore.NewWeighted(int64(p.limits.PerGuest)), rate.NewLimiter(rate.Limit(p.limits.PerSecond), p.limits.Burst)}
		p.guests[vmid] = own
	}
	return own
}

// slot waits until the guest may have another request under way.
func (p *Proxy) slot(ctx context.Context, vmid int) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, p.limits.Wait)
	defer cancel()
	own := p.limitsOf(vmid).slots
	if err := own.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	if err := p.all.Acquire(ctx, 1); err != nil {
		own.Release(1)
		return nil, err
	}
	return func() { p.all.Release(1); own.Release(1) }, nil
}
