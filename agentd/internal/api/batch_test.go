package api_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/identity"
	"github.com/felhom/felhom-golden/internal/pin"
)

// counting counts the writes of the connections that it accepts.
type counting struct {
	net.Listener
	writes *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &countingConn{c, l.writes}, err
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) { c.writes.Add(1); return c.Conn.Write(p) }

// pair returns both ends of a connection of the local API, and the count of the
// server's writes to the network.
func pair(t *testing.T) (server net.Conn, client *tls.Conn, writes *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	writes = &atomic.Int64{}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	id, err := identity.Files{Keys: root, Certificates: root}.Load(nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secure := api.TLS(counting{l, writes}, pin.ServerTLS(id.Current), log.New(io.Discard, "", 0))
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := secure.Accept()
		if err != nil {
			t.Error(err)
			close(accepted)
			return
		}
		accepted <- c
	}()
	raw, err := net.DialTimeout("tcp", l.Addr().String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	client = tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	server, ok := <-accepted
	if !ok {
		t.FailNow()
	}
	t.Cleanup(func() { _, _ = server.Close(), client.Close() })
	shaken := make(chan error, 1)
	go func() {
		one := make([]byte, 1)
		_, err := server.Read(one)
		shaken <- err
	}()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return server, client, writes
}

// A large answer is written with a few calls of the system, not with one for each
// record of TLS, and arrives as it was.
func TestLargeWritesAreBatched(t *testing.T) {
	server, client, writes := pair(t)
	const chunk, chunks = 64 << 10, 32
	var sent, got []byte
	ended := make(chan error, 1)
	go func() {
		var err error
		got, err = io.ReadAll(client)
		ended <- err
	}()
	before := writes.Load()
	for i := range chunks {
		p := bytes.Repeat([]byte{byte(i)}, chunk-i)
		if n, err := server.Write(p); n != len(p) || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
		sent = append(sent, p...)
	}
	if n := writes.Load() - before; n != chunks {
		t.Errorf("%d writes to the network for %d chunks", n, chunks)
	}
	if _, err := server.Write(make([]byte, 1<<20)); err != nil { // more than a batch
		t.Fatal(err)
	}
	sent = append(sent, make([]byte, 1<<20)...)
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes arrive as they were: %v", len(got), len(sent), err)
	}
}

// A client that does not read ends the write at its deadline, and each later one;
// a close beside a write ends both.
func TestBatchedWritesEnd(t *testing.T) {
	server, _, _ := pair(t)
	if err := server.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 4096 {
		if _, err = server.Write(make([]byte, 64<<10)); err != nil {
			break
		}
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("%v, want a timeout", err)
	}
	if err := server.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Write(make([]byte, 64<<10)); err == nil {
		t.Error("after a gap in the stream a write succeeds")
	}

	server, _, _ = pair(t)
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			if _, err := server.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	_ = server.Close() // a write may be under way
	writing.Wait()
}

// A client that has closed its side gets no closing record, which would be a write
// without a reader; another one gets it, and so knows that nothing was cut off.
func TestClosingRecord(t *testing.T) {
	for name, isEnded := range map[string]bool{"client closes": true, "server closes": false} {
		t.Run(name, func(t *testing.T) {
			server, client, writes := pair(t)
			if isEnded {
				if err := client.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if n, err := server.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Fatalf("%d bytes, %v, want the end", n, err)
				}
			}
			before, want := writes.Load(), int64(1)
			if isEnded {
				want = 0
			}
			if err := server.Close(); err != nil {
				t.Fatal(err)
			}
			if got := writes.Load() - before; got != want {
				t.Errorf("%d writes, want %d", got, want)
			}
			if err := client.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if n, err := client.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("%d bytes, %v, want the end", n, err)
			}
		})
	}
}
