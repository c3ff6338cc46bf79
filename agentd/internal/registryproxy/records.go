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
	first, last int // of what is in buffer and was not handed out

	header [recordHeader]byte // of the record under way, as far as it was handed out
	known  int                // bytes of header
	left   int                // bytes of the record's body that were not handed out
	size   int                // of the last record's body
}

const (
	recordHeader = 5 // type, version, length
	// readBytes has room for the records whose contents are copied at once, with what
	// TLS adds to them, and for no further one.
	readBytes = copyBytes + 4*64
)

// Read implements [net.Conn].
func (c *recordConn) Read(p []byte) (n int, err error) {
	if c.first == c.last && c.buffer == nil {
		n, err = c.Conn.Read(p)
		if err == nil && n == len(p) { // there may be more
			c.buffer = make([]byte, readBytes)
		}
		c.pass(p[:n])
		return n, err
	}
	if c.first == c.last {
		n, err = c.Conn.Read(c.buffer[:c.want()])
		c.first, c.last = 0, n
		if n == 0 {
			return 0, err
		}
		// An error that came with bytes comes again with the next call.
	}
	n = copy(p, c.buffer[c.first:min(c.first+c.rest(), c.last)])
	c.first += n
	c.pass(p[:n])
	return n, nil
}

// rest returns how much is left of the record under way, or else of the next one.
// No more is handed out at once: of what TLS keeps of a further record it is not
// known whether that is complete.
func (c *recordConn) rest() int {
	if c.left > 0 {
		return c.left
	}
	header := c.header
	n := copy(header[c.known:], c.buffer[c.first:c.last])
	if c.known+n < recordHeader {
		return n
	}
	return recordHeader - c.known + int(binary.BigEndian.Uint16(header[recordHeader-2:]))
}

// want returns how much is read at once: the rest of the record under way and as
// many others as fit, if they are as long as the last one. The part of a further one
// would be waited for, and what comes before it be passed on alone.
func (c *recordConn) want() int {
	record := recordHeader + c.size
	rest := c.left
	if c.known > 0 {
		rest = max(record-c.known, 1)
	}
	return min(rest+(len(c.buffer)-rest)/record*record, len(c.buffer))
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
			c.size = c.left
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
	hasHeader := c.left > 0 || c.known+c.last-c.first >= recordHeader
	return hasHeader && c.last-c.first >= c.rest()
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
