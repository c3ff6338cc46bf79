package listener

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Conn is a connection that is counted by [Caps]. Its methods beside those of
// [net.Conn] may be called on nil, which is a connection without caps.
type Conn struct {
	net.Conn
	caps     *Caps
	from     netip.Prefix
	accepted time.Time
	why      string // it was closed because of a cap
	isRecent bool   // when it was accepted

	// Guarded by caps.mu.
	isTrusted bool
	asked     *time.Time // the read deadline that the server asked for, if it got an earlier one
	guest     int        // the guest whose token came first
	idle      time.Time  // since when it is idle; zero: a request is being served
}

// Trust records that a valid token of the guest came over the connection. It
// reports whether the connection may be kept: a guest that has too many is
// served and its connection then closed. It must not run beside SetReadDeadline.
func (conn *Conn) Trust(guest int) bool {
	if conn == nil {
		return true
	}
	isKept, why := conn.caps.trust(conn, guest, time.Now())
	if isKept {
		conn.extend()
	}
	if why != "" && conn.caps.Refused != nil {
		conn.caps.Refused(conn.from, why)
	}
	return isKept
}

// extend sets the read deadline that the server asked for. net/http reads on while it
// serves a request: it takes a read that ends for the end of the client, and ends the
// context of the connection, which is that of all later requests too.
func (conn *Conn) extend() {
	conn.caps.mu.Lock()
	asked := conn.asked
	conn.asked = nil
	conn.caps.mu.Unlock()
	if asked != nil {
		_ = conn.Conn.SetReadDeadline(*asked) // it fails on a connection that is closed
	}
}

// trust is [Conn.Trust]. why names the cap because of which conn is not kept; it
// is "" for one that was evicted before, and reported then.
func (c *Caps) trust(conn *Conn, guest int, now time.Time) (isKept bool, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vouch(conn.from, guest, now)
	switch {
	case !c.conns[conn]: // evicted meanwhile
		return false, ""
	case conn.isTrusted:
		return true, ""
	case c.guests[guest] >= c.perSource:
		return false, fmt.Sprintf("limits.connections_per_source, for guest %d from all its addresses", guest)
	}
	c.sources[conn.from].untrusted--
	if !conn.isRecent {
		c.unknown--
	}
	conn.isTrusted, conn.guest = true, guest
	c.guests[guest]++
	return true, ""
}

// SetIdle records whether the connection is idle: another connection may
// replace an idle trusted one.
func (conn *Conn) SetIdle(isIdle bool) {
	if conn == nil {
		return
	}
	conn.caps.mu.Lock()
	defer conn.caps.mu.Unlock()
	conn.idle = time.Time{}
	if isIdle {
		conn.idle = time.Now()
	}
}

// SetReadDeadline implements [net.Conn]. Before [Conn.Trust] no deadline is
// later than a short time after the connection was accepted.
func (conn *Conn) SetReadDeadline(t time.Time) error {
	conn.caps.mu.Lock()
	conn.asked = nil
	if last := conn.accepted.Add(untrustedLife); !conn.isTrusted && (t.IsZero() || t.After(last)) {
		asked := t
		conn.asked, t = &asked, last
	}
	conn.caps.mu.Unlock()
	return conn.Conn.SetReadDeadline(t)
}

// SetDeadline implements [net.Conn], under the rule of SetReadDeadline.
func (conn *Conn) SetDeadline(t time.Time) error {
	if err := conn.SetReadDeadline(t); err != nil {
		return err
	}
	return conn.SetWriteDeadline(t)
}

// Close implements [net.Conn]. It is safe to repeat.
func (conn *Conn) Close() error {
	conn.caps.mu.Lock()
	conn.caps.remove(conn)
	conn.caps.mu.Unlock()
	return conn.Conn.Close()
}

// Of returns the counted connection below c, which may be wrapped by types with
// a method NetConn, such as a connection of TLS. nil: there is none.
func Of(c net.Conn) *Conn {
	for {
		switch inner := c.(type) {
		case *Conn:
			return inner
		case interface{ NetConn() net.Conn }:
			c = inner.NetConn()
		default:
			return nil
		}
	}
}

type key struct{}

// WithConn returns ctx with the counted connection below c.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, key{}, Of(c))
}

// FromContext returns the connection of [WithConn], or nil.
func FromContext(ctx context.Context) *Conn {
	conn, _ := ctx.Value(key{}).(*Conn)
	return conn
}
