package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// TestThreats has the rows of docs/security.md that a daemon on loopback answers
// for, by their names there.
func TestThreats(t *testing.T) {
	t.Parallel()
	t.Run("who pulled what", pullsAreInTheAuditLog)
	t.Run("handshake or connection flood by one guest", guestsBesideAttackers)
	t.Run("slow header/body, huge header", func(t *testing.T) {
		t.Parallel()
		t.Run("slow", slowClients)
		t.Run("huge", headerLimit)
		t.Run("endless", endlessHeader)
	})
	t.Run("firewall switched on, address changed", addressChange)
}

// slowClients: who sends a byte from time to time does not keep its connection,
// at whatever point it began to, and the guest is served meanwhile.
func slowClients(t *testing.T) {
	t.Parallel()
	b := startDaemonProcess(t)
	addr := strings.TrimPrefix(b.url, "https://")
	good := b.add(t, "8200").LocalAPIToken.Reveal()
	start := "POST " + contract.PathReports + " HTTP/1.1\r\nHost: " + addr + "\r\n"
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var attackers sync.WaitGroup
	ended := make(chan error, 64)
	for kind, c := range map[string]struct {
		isPlain bool
		begin   string
	}{
		"handshake": {isPlain: true, begin: "\x16\x03\x01\x02\x00"},
		"header":    {begin: start + "X-Padding: "},
		"body":      {begin: start + "Authorization: Bearer " + good + "\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n"},
		"chunks":    {begin: start + "Authorization: Bearer " + good + "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"},
	} {
		for i := range 8 {
			attackers.Go(func() {
				if err := dribble(ctx, fmt.Sprintf("127.0.4.%d", i+1), addr, c.begin, c.isPlain); err != nil {
					ended <- fmt.Errorf("%s: %w", kind, err)
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { attackers.Wait(); close(done) }()
	for isOver := false; !isOver; {
		if err := retry(t.Context(), 40, func() error { return askOnce(t.Context(), addr, good) }); err != nil {
			t.Errorf("the guest beside them: %v", err)
			stop()
		}
		select {
		case <-done:
			isOver = true
		case <-time.After(500 * time.Millisecond):
		}
	}
	close(ended)
	for err := range ended {
		t.Error(err)
	}
}

// slowLimit is long enough for a busy machine, and far shorter than what the
// client would need to send all that it announced.
const slowLimit = patience

// dribble sends begin and then a byte each half second. It returns nil when the
// daemon has ended the connection.
func dribble(ctx context.Context, source, addr, begin string, isPlain bool) error {
	conn, err := connect(ctx, source, addr, isPlain)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, begin); err != nil {
		return nil //nolint:nilerr // it is ended already
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_, _ = io.Copy(io.Discard, conn) // an answer, if there is one, and its end
	}()
	bytes := time.NewTicker(500 * time.Millisecond)
	defer bytes.Stop()
	limit := time.After(slowLimit)
	for {
		select {
		case <-closed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return fmt.Errorf("the connection is open after %v", slowLimit)
		case <-bytes.C:
			_, _ = io.WriteString(conn, "1") // closed says when it is over
		}
	}
}

// connect opens a connection, with TLS if it is not plain. It tries again: the daemon waits
// some seconds for a handshake, which a busy machine may take from it.
func connect(ctx context.Context, source, addr string, isPlain bool) (conn net.Conn, err error) {
	err = retry(ctx, 20, func() error {
		raw, err := dialFrom(ctx, source, addr)
		if conn = raw; err != nil || isPlain {
			return err
		}
		secure := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		if conn, err = secure, secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
		}
		return err
	})
	return conn, err
}

// endlessHeader: the daemon reads little of a header without end.
func endlessHeader(t *testing.T) {
	t.Parallel()
	b := startDaemonProcess(t)
	addr := strings.TrimPrefix(b.url, "https://")
	const bound = 4 << 20 // far above the limit, for what the kernel's buffers take
	for name, line := range map[string]string{
		"one line":   strings.Repeat("x", 1<<10),
		"many lines": strings.Repeat("X-Line: x\r\n", 100),
	} {
		var conn *tls.Conn
		var sent int
		begin := func() (err error) {
			conn, err = tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return err
			}
			// What waits in a buffer of this side was not read: how much that is depends on the machine.
			if err := conn.NetConn().(*net.TCPConn).SetWriteBuffer(64 << 10); err != nil {
				return err
			}
			sent, err = io.WriteString(conn, "GET /guest HTTP/1.1\r\nHost: "+addr+"\r\nX-Padding: ")
			return errors.Join(err, conn.SetWriteDeadline(time.Now().Add(patience)))
		}
		err := retry(t.Context(), 5, begin) // a busy machine may be late with it
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		for err == nil && sent < 2*bound {
			var n int
			n, err = conn.Write(bytes.Repeat([]byte(line), 16))
			sent += n
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || sent > bound {
			t.Errorf("%s: the daemon took %d bytes, %v, want the connection ended", name, sent, err)
		}
		_ = conn.Close()
	}
}
