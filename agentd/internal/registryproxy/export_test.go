package registryproxy

import (
	"net"
	"net/netip"
)

// AllowAnyAddress lets p connect to where a registry redirects it, whatever the
// address: a test's servers are at loopback. Call it before the first request.
func (p *Proxy) AllowAnyAddress(roots *Registry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range p.upstreams {
		u.foreign = newTransport(roots.Roots, nil)
	}
}

// IsPublic is isPublic.
func IsPublic(a netip.Addr) bool { return isPublic(a) }

// ParsesAs reports what the grammar makes of a path.
func ParsesAs(path string) (kindOf int, repository, reference string, ok bool) {
	t, ok := parsePath(path)
	reference = t.tag
	if !t.digest.IsZero() {
		reference = t.digest.String()
	}
	return int(t.kind), t.repository, reference, ok
}

// NewRecords returns c with the reads of a registry's connection.
func NewRecords(c net.Conn) net.Conn { return &recordConn{Conn: c} }

// HasMore reports whether a read of a connection of NewRecords does not wait.
func HasMore(c net.Conn) bool { return recordsOf(c).hasMore() }
