package listener

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// burstSeconds is how many seconds' worth of new connections a source may open
// at once; a controller that starts opens a few.
const burstSeconds = 10

// maxSources bounds the memory that many sources can take.
const maxSources = 4096

// Caps limits connections over all listeners that it wraps. A connection over a
// cap is closed before its handshake, which is what costs.
type Caps struct {
	perSource, total int
	rate             rate.Limit
	burst            int

	mu      sync.Mutex
	open    int
	sources map[netip.Prefix]*source
}

type source struct {
	open    int
	limiter *rate.Limiter
}

// NewCaps allows perSource open connections of one source, total of all, and
// perSecond new ones of one source on average.
func NewCaps(perSource, total, perSecond int) *Caps {
	return &Caps{
		perSource: perSource, total: total,
		rate: rate.Limit(perSecond), burst: perSecond * burstSeconds,
		sources: map[netip.Prefix]*source{},
	}
}

// Wrap returns l under the caps.
func (c *Caps) Wrap(l net.Listener) net.Listener { return &capped{Listener: l, caps: c} }

// SourceOf returns whom a connection is counted for: an IPv4 address, or the
// /64 of an IPv6 one, since a host may use any address of its /64.
func SourceOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: all of those are one source
	}
	return p
}

func (c *Caps) take(from netip.Prefix, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sources[from]
	if s == nil {
		c.evict(now)
		if len(c.sources) >= maxSources {
			return false
		}
		s = &source{limiter: rate.NewLimiter(c.rate, c.burst)}
		c.sources[from] = s
	}
	if c.open >= c.total || s.open >= c.perSource || !s.limiter.AllowN(now, 1) {
		return false
	}
	c.open++
	s.open++
	return true
}

func (c *Caps) give(from netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	c.sources[from].open--
}

// evict forgets sources that have no connection and a full bucket: nothing is
// lost with them. It only looks when there are many.
func (c *Caps) evict(now time.Time) {
	if len(c.sources) < maxSources {
		return
	}
	for from, s := range c.sources {
		if s.open == 0 && s.limiter.TokensAt(now) >= float64(c.burst) {
			delete(c.sources, from)
		}
	}
}

type capped struct {
	net.Listener
	caps *Caps
}

func (l *capped) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		var from netip.Prefix
		if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			from = SourceOf(a.AddrPort().Addr())
		}
		if l.caps.take(from, time.Now()) {
			return &counted{Conn: conn, done: func() { l.caps.give(from) }}, nil
		}
		_ = conn.Close() // refused: nobody waits for an answer
	}
}

type counted struct {
	net.Conn
	once sync.Once
	done func()
}

func (c *counted) Close() error {
	c.once.Do(c.done)
	return c.Conn.Close()
}
