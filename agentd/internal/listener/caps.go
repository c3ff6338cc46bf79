package listener

import (
	"cmp"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// burstSeconds is how many seconds' worth of new connections a source may open
	// at once; a controller that starts opens a few.
	burstSeconds = 10

	// maxSources bounds the memory that many sources can take.
	maxSources = 4096

	// recentTime is how long a source is known after a valid token came from it.
	recentTime = time.Hour

	// sourcesPerGuest bounds the sources that one guest's token makes known: a
	// guest gets no more connections by having many addresses.
	sourcesPerGuest = 4

	// untrustedLife is how long a connection may be read from before a valid
	// token came over it.
	untrustedLife = 10 * time.Second
)

// Caps limits connections over all listeners that it wraps. A connection over a
// cap is closed before its handshake, which is the expensive part.
//
// A connection is untrusted until [Conn.Trust]. Half of the connections are
// reserved for sources that sent a valid token within the last hour; in the
// other half, a new connection replaces the oldest untrusted one of the source
// that has most of them. So clients without a token cannot keep out those that
// have one.
type Caps struct {
	// Refused gets each connection that is closed because of a cap, with the cap; of a guest
	// that has too many, when its token comes. It is set before the first connection, and may be nil.
	Refused func(source netip.Prefix, why string)

	perSource, total int
	rate             rate.Limit
	burst            int

	mu      sync.Mutex
	conns   map[*Conn]bool
	sources map[netip.Prefix]*source
	guests  map[int]int // trusted connections
	recent  map[netip.Prefix]map[int]time.Time
	unknown int // untrusted connections of sources that are not recent
	swept   time.Time
}

type source struct {
	open, untrusted int
	limiter         *rate.Limiter
}

// NewCaps allows perSource open connections of one source and perSource trusted
// ones of one guest, total of all, and perSecond new ones of one source on
// average.
func NewCaps(perSource, total, perSecond int) *Caps {
	return &Caps{
		perSource: perSource, total: total,
		rate: rate.Limit(perSecond), burst: perSecond * burstSeconds,
		conns: map[*Conn]bool{}, sources: map[netip.Prefix]*source{}, guests: map[int]int{}, recent: map[netip.Prefix]map[int]time.Time{},
	}
}

// Wrap returns l under the caps. The connections that it accepts are of type
// *[Conn].
func (c *Caps) Wrap(l net.Listener) net.Listener { return &capped{Listener: l, caps: c} }

// SourceOf returns the source that a connection is counted for: an IPv4
// address, or the /64 of an IPv6 one, since a host may use any address of its
// /64.
func SourceOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // without an address: all of these are one source
	}
	return p
}

// take admits conn, or returns false. evicted is the connection that it
// replaces, which the caller closes, or nil.
func (c *Caps) take(conn *Conn, now time.Time) (evicted *Conn, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.isRecent = c.isRecent(conn.from, now)
	s := c.sources[conn.from]
	if s == nil {
		c.forget(now)
		if len(c.sources) >= maxSources && !conn.isRecent {
			conn.why = "too many sources"
			return nil, false
		}
		s = &source{limiter: rate.NewLimiter(c.rate, c.burst)}
		c.sources[conn.from] = s
	}
	switch {
	case s.open >= c.perSource:
		conn.why = "limits.connections_per_source"
		return nil, false
	case !s.limiter.AllowN(now, 1):
		conn.why = "limits.handshakes_per_second"
		return nil, false
	}
	if len(c.conns) >= c.total || !conn.isRecent && c.unknown >= c.total-c.total/2 {
		if evicted = c.victim(); evicted == nil {
			conn.why = "limits.connections_total"
			return nil, false
		}
		evicted.why = "limits.connections_total, for a newer one"
		c.remove(evicted)
	}
	conn.caps, conn.accepted = c, now
	c.conns[conn] = true
	s.open++
	s.untrusted++
	if !conn.isRecent {
		c.unknown++
	}
	return evicted, true
}

func (c *Caps) refused(conn *Conn) {
	if c.Refused != nil {
		c.Refused(conn.from, conn.why)
	}
}

// victim returns the connection that gives its place to a new one, or nil: of
// unknown sources, then of known sources without a token, of the source that has the
// most untrusted ones, the oldest; then of the guest that has the most, the one
// that is idle for longest. A request under way is never ended.
func (c *Caps) victim() *Conn {
	var found *Conn
	for conn := range c.conns {
		if conn.rank() > rankIdle {
			continue
		}
		if found == nil || c.compare(conn, found) < 0 {
			found = conn
		}
	}
	return found
}

const (
	rankUnknown = iota
	rankUntrusted
	rankIdle
	rankBusy
)

func (conn *Conn) rank() int {
	switch {
	case !conn.isTrusted && !conn.isRecent:
		return rankUnknown
	case !conn.isTrusted:
		return rankUntrusted
	case !conn.idle.IsZero():
		return rankIdle
	}
	return rankBusy
}

func (c *Caps) compare(a, b *Conn) int {
	if a.rank() != b.rank() || a.rank() == rankIdle {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(c.guests[b.guest], c.guests[a.guest]), a.idle.Compare(b.idle))
	}
	return cmp.Or(cmp.Compare(c.sources[b.from].untrusted, c.sources[a.from].untrusted), a.accepted.Compare(b.accepted))
}

// remove takes conn out of all counts. It is safe to repeat. c.mu is held.
func (c *Caps) remove(conn *Conn) {
	if !c.conns[conn] {
		return
	}
	delete(c.conns, conn)
	s := c.sources[conn.from]
	s.open--
	if conn.isTrusted {
		if c.guests[conn.guest]--; c.guests[conn.guest] == 0 {
			delete(c.guests, conn.guest)
		}
		return
	}
	s.untrusted--
	if !conn.isRecent {
		c.unknown--
	}
}

// isRecent reports whether a valid token came from the source. c.mu is held.
func (c *Caps) isRecent(from netip.Prefix, now time.Time) bool {
	for _, at := range c.recent[from] {
		if now.Sub(at) < recentTime {
			return true
		}
	}
	return false
}

// vouch makes from a known source of the guest, in place of the guest's oldest if it
// has too many. c.mu is held.
func (c *Caps) vouch(from netip.Prefix, guest int, now time.Time) {
	if now.Sub(c.swept) >= recentTime {
		c.swept = now
		for p, of := range c.recent {
			for g, at := range of {
				if now.Sub(at) >= recentTime {
					c.unvouch(p, g)
				}
			}
		}
	}
	if _, known := c.recent[from][guest]; !known {
		n, oldest, seen := 0, netip.Prefix{}, now
		for p, of := range c.recent {
			if at, ok := of[guest]; ok {
				if n++; !at.After(seen) {
					oldest, seen = p, at
				}
			}
		}
		if n >= sourcesPerGuest {
			c.unvouch(oldest, guest)
		}
	}
	if c.recent[from] == nil {
		c.recent[from] = map[int]time.Time{}
	}
	c.recent[from][guest] = now
}

func (c *Caps) unvouch(from netip.Prefix, guest int) {
	if delete(c.recent[from], guest); len(c.recent[from]) == 0 {
		delete(c.recent, from)
	}
}

// forget drops sources that have no connection and a full bucket: a new entry
// would be the same. It does nothing unless there are many.
func (c *Caps) forget(now time.Time) {
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

// Accept implements [net.Listener].
func (l *capped) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn := &Conn{Conn: accepted}
		if a, ok := accepted.RemoteAddr().(*net.TCPAddr); ok {
			conn.from = SourceOf(a.AddrPort().Addr())
		}
		evicted, ok := l.caps.take(conn, time.Now())
		if evicted != nil {
			_ = evicted.Conn.Close() // its reader sees that it is closed
			l.caps.refused(evicted)
		}
		if ok {
			return conn, nil
		}
		_ = accepted.Close() // refused: no client waits for an answer
		l.caps.refused(conn)
	}
}
