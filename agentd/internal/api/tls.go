package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/felhom/felhom-golden/internal/contract"
)

// TLS returns l with TLS on each connection that it accepts. Answers that
// net/http gives before it calls a handler get the form of all others: JSON.
// Pass it to [http.Server.Serve], not to ServeTLS. complaints gets the failed
// handshakes.
func TLS(l net.Listener, conf *tls.Config, complaints *log.Logger) net.Listener {
	conf = conf.Clone()
	conf.NextProtos = []string{"http/1.1"}
	conf.DynamicRecordSizingDisabled = true // small records are for browsers, which show a page in parts
	conf.SessionTicketsDisabled = true      // no client keeps one, and each connection would cost making it
	return &tlsListener{Listener: l, conf: conf, complaints: complaints}
}

type tlsListener struct {
	net.Listener
	conf       *tls.Config
	complaints *log.Logger
}

// Accept implements [net.Listener]. The handshake is left to the first Read:
// here it would keep other connections waiting.
func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	records := &batch{Conn: c}
	return &tlsConn{Conn: tls.Server(records, l.conf), records: records, complaints: l.complaints}, nil
}

// tlsConn is not a *tls.Conn to net/http, which therefore treats it as a plain
// connection and leaves handshake and answers to it.
type tlsConn struct {
	*tls.Conn
	records    *batch // below Conn
	complaints *log.Logger
	handshake  sync.Once
	failed     error
	isEnded    atomic.Bool // the client has closed its side
	isHandled  atomic.Bool // what is written is the answer of a handler
}

type connKey struct{}

// withConn returns ctx with c, if it is a connection of [TLS].
func withConn(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*tlsConn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// handled returns handler, whose answers are written as they are.
func handled(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*tlsConn); ok {
			c.isHandled.Store(true)
		}
		handler.ServeHTTP(w, r)
	})
}

// noteState notes that an answer has ended: net/http writes its rest after the
// handler has returned.
func noteState(c net.Conn, state http.ConnState) {
	if c, ok := c.(*tlsConn); ok && state == http.StateIdle {
		c.isHandled.Store(false)
	}
}

// Read implements [net.Conn]. The read deadline, which net/http has set for the
// request's header, bounds the handshake too.
func (c *tlsConn) Read(p []byte) (int, error) {
	c.handshake.Do(c.shake)
	if c.failed != nil {
		return 0, c.failed
	}
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		c.isEnded.Store(true)
	}
	return n, err
}

// Close implements [net.Conn]. A client that has closed its side gets no
// closing record: it reads no more, and each answer says how long it is.
func (c *tlsConn) Close() error {
	if c.isEnded.Load() {
		return c.NetConn().Close()
	}
	return c.Conn.Close()
}

func (c *tlsConn) shake() {
	if err := c.NetConn().SetWriteDeadline(time.Now().Add(readHeaderTimeout)); err != nil {
		c.failed = err
		return
	}
	// A context that can end would cost a goroutine, and the deadlines end it too.
	err := c.HandshakeContext(context.Background())
	if err == nil {
		c.failed = c.NetConn().SetWriteDeadline(time.Time{})
		return
	}
	c.complaints.Printf("TLS handshake error from %s: %v", c.RemoteAddr(), err)
	if wrong, ok := errors.AsType[tls.RecordHeaderError](err); ok && wrong.Conn != nil && isHTTP(wrong.RecordHeader[:]) {
		_, _ = wrong.Conn.Write(errorAnswer("400 Bad Request", refusedPlainHTTP.Problem)) // the sender may be gone
	}
	// net/http answers no error of a net.OpError.
	c.failed = &net.OpError{Op: "read", Net: "tcp", Err: err}
}

// isHTTP reports whether the first bytes of a connection are those of a method.
func isHTTP(head []byte) bool {
	for _, b := range head {
		if (b < 'A' || b > 'Z') && b != ' ' && b != '/' && b != '*' {
			return false
		}
	}
	return true
}

// plainHeaders are what net/http sends with an answer that no handler gave.
// A handler's answer has others before them.
const plainHeaders = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// refusedByHTTP are the refusals of net/http that are not a 400.
var refusedByHTTP = []refusal{refusedExpectation, refusedHeader, refusedEncoding, refusedVersion}

// Write implements [net.Conn]. An answer that net/http gives by itself is one
// Write, which is replaced.
func (c *tlsConn) Write(p []byte) (int, error) {
	if len(p) > oneRecord { // not one of net/http's own
		return c.records.collect(func() (int, error) { return c.Conn.Write(p) })
	}
	// A registry chooses what is in a blob: it could have the form of such an answer.
	if c.isHandled.Load() {
		return c.Conn.Write(p)
	}
	status, ok := ownAnswer(p)
	if !ok {
		return c.Conn.Write(p)
	}
	problem := refusedMalformed.Problem
	for _, r := range refusedByHTTP {
		if status[:3] == strconv.Itoa(r.status) {
			problem = r.Problem
		}
	}
	if _, err := c.Conn.Write(errorAnswer(status, problem)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// ownAnswer returns the status of an answer that net/http gave by itself.
func ownAnswer(p []byte) (status string, ok bool) {
	rest, ok := bytes.CutPrefix(p, []byte("HTTP/1."))
	if !ok || len(rest) < len("1 400") {
		return "", false
	}
	line, _, ok := bytes.Cut(rest[len("1 "):], []byte("\r\n"))
	if !ok || len(line) < len("400") || bytes.ContainsFunc(line, unicode.IsControl) {
		return "", false
	}
	isPlain := bytes.HasPrefix(rest[len("1 ")+len(line):], []byte(plainHeaders))
	// 417 has no body and the ordinary headers.
	if !isPlain && !bytes.HasPrefix(line, []byte("417 ")) {
		return "", false
	}
	line, _, _ = bytes.Cut(line, []byte(":")) // what follows may be of the request
	return string(line), true
}

func errorAnswer(status string, problem contract.Problem) []byte {
	body, err := json.Marshal(problem)
	if err != nil {
		body = []byte(`{"error":"internal","message":"the answer could not be encoded"}`)
	}
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: %s\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n\r\n%s\n",
		status, strconv.Itoa(len(body)+1), body)
}
