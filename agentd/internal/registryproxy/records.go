package registryproxy

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync/atomic"
)

// recordConn is a registry's connection below TLS. crypto/tls reads a record of
// at most 16 KiB with two calls of the system; recordConn reads what has arrived,
// and knows whether the next record is complete, so that many records can be
// passed on at once without waiting for more.
type recordConn struct {
	net.Conn
	isReady atomic.Bool

	// One goroutine reads at a time. A connection has a buffer from the first time
	// that much arrives at once.
	buffer      []byte
	first, last int  // of what is in buffer and was not handed out
	isFull      bool // the last read filled its buffer: there may be more

	header [recordHeader]byte // of the record under way, as far as it was handed out
	known  int                // bytes of header
	left   int                // bytes of the record's body that were not handed out
}

const (
	recordHeader = 5 // type, version, length
	readBytes    = 64 << 10
)

// Read implements [net.Conn].
func (c *recordConn) Read(p []byte) (n int, err error) {
	if c.first == c.last && !c.isFull {
		// It may wait for long.
		n, err = c.Conn.Read(p)
		c.isFull = err == nil && n == len(p)
		c.pass(p[:n])
		return n, err
	}
	if c.first == c.last {
		if c.buffer == nil {
			c.buffer = make([]byte, readBytes)
		}
		n, err = c.Conn.Read(c.buffer)
		c.first, c.last, c.isFull = 0, n, err == nil && n == len(c.buffer)
		if n == 0 {
			return 0, err
		}
		// An error that came with bytes comes again with the next call.
	}
	n = copy(p, c.buffer[c.first:c.last])
	c.first += n
	c.pass(p[:n])
	return n, nil
}

// pass notes that p was handed out.
func (c *recordConn) pass(p []byte) {
	for len(p) > 0 {
		if c.left > 0 {
			n := min(c.left, len(p))
			c.left -= n
			p = p[n:]
			continue
		}
		n := copy(c.header[c.known:], p)
		c.known += n
		p = p[n:]
		if c.known == recordHeader {
			c.known, c.left = 0, int(binary.BigEndian.Uint16(c.header[recordHeader-2:]))
		}
	}
	c.isReady.Store(c.hasRecord())
}

// hasRecord reports whether the rest of the record under way, or else the whole
// next one, is in the buffer.
func (c *recordConn) hasRecord() bool {
	if c.first == c.last {
		return false
	}
	rest := c.buffer[c.first:c.last]
	if c.left > 0 {
		return len(rest) >= c.left
	}
	header := c.header
	n := copy(header[c.known:], rest)
	return c.known+n == recordHeader && len(rest)-n >= int(binary.BigEndian.Uint16(header[recordHeader-2:]))
}

// recordsOf returns the connection below TLS, or nil if it is another kind.
func recordsOf(c net.Conn) *recordConn {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	records, _ := c.(*recordConn)
	return records
}

// hasMore reports whether a read returns without waiting for the registry. nil
// knows of nothing.
func (c *recordConn) hasMore() bool { return c != nil && c.isReady.Load() }
