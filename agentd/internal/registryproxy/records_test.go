package registryproxy_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// parts is a connection whose reads return what parts gives, and are counted.
type parts struct {
	net.Conn
	next  func(p []byte) (int, error)
	reads int
}

func (c *parts) Read(p []byte) (int, error) { c.reads++; return c.next(p) }

// Whatever the sizes of records, of what arrives at once, and of reads: all bytes
// come in their order, and a record that is said to be complete is read without
// another read of the network.
func TestRecordsArriveInOrder(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	var sent []byte
	var ends []int // of records
	for range 400 {
		body := make([]byte, random.IntN(16<<10))
		if random.IntN(4) == 0 {
			body = body[:min(len(body), random.IntN(3))]
		}
		sent = binary.BigEndian.AppendUint16(append(sent, 23, 3, 3), uint16(len(body)))
		for i := range body {
			body[i] = byte(len(sent) + i)
		}
		sent = append(sent, body...)
		ends = append(ends, len(sent))
	}
	left := sent
	below := &parts{next: func(p []byte) (int, error) {
		if len(left) == 0 {
			return 0, io.EOF
		}
		n := copy(p[:min(len(p), 1+random.IntN(100<<10))], left)
		left = left[n:]
		return n, nil
	}}
	c := registryproxy.NewRecords(below)
	var got []byte
	for {
		p := make([]byte, 1+random.IntN(20<<10))
		n, err := c.Read(p)
		got = append(got, p[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || n == 0 {
			t.Fatalf("seed %d: %d bytes, %v", seed, n, err)
		}
		if !registryproxy.HasMore(c) {
			continue
		}
		before := below.reads
		end := 0
		for _, end = range ends {
			if end > len(got) {
				break
			}
		}
		rest := make([]byte, end-len(got))
		if _, err := io.ReadFull(c, rest); err != nil || below.reads != before {
			t.Fatalf("seed %d: a complete record took %d reads, %v", seed, below.reads-before, err)
		}
		got = append(got, rest...)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("seed %d: other bytes arrive", seed)
	}
}

// stored is a connection that takes in all that arrives, whether it is read or not,
// and counts the reads.
type stored struct {
	net.Conn
	ended chan struct{} // closed when nothing more arrives

	mu    sync.Mutex
	some  *sync.Cond
	data  bytes.Buffer
	err   error
	reads int
}

func store(c net.Conn) *stored {
	s := &stored{Conn: c, ended: make(chan struct{})}
	s.some = sync.NewCond(&s.mu)
	go func() {
		defer close(s.ended)
		p := make([]byte, 64<<10)
		for {
			n, err := c.Read(p)
			s.mu.Lock()
			s.data.Write(p[:n])
			s.err = err
			s.mu.Unlock()
			s.some.Broadcast()
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *stored) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	for s.data.Len() == 0 && s.err == nil {
		s.some.Wait()
	}
	if s.data.Len() == 0 {
		return 0, s.err
	}
	return s.data.Read(p)
}

// TLS reads one record at a time, in two parts: a blob must not cost two calls of
// the system for each 16 KiB, and what has arrived is passed on in as large parts as
// are written at once.
func TestManyRecordsAreReadAtOnce(t *testing.T) {
	const size = 32 << 20
	up := newUpstream(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	sent := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			sent <- err
			return
		}
		s := tls.Server(c, up.TLS)
		_, err = s.Write(make([]byte, size))
		_ = s.Close()
		sent <- err
	}()
	raw, err := net.DialTimeout("tcp", l.Addr().String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	below := store(raw)
	records := registryproxy.NewRecords(below)
	c := tls.Client(records, &tls.Config{RootCAs: up.roots, ServerName: "example.com"})
	defer func() { _ = c.Close() }()
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-below.ended // how many reads there are does not depend on who is faster
	p := make([]byte, 64<<10)
	all, batches := 0, 0
	for err == nil {
		n := 0
		for n == 0 || n < len(p) && registryproxy.HasMore(records) {
			var more int
			if more, err = c.Read(p[n:]); err != nil {
				break
			}
			n += more
		}
		all += n
		batches++
	}
	if !errors.Is(err, io.EOF) || all != size {
		t.Fatalf("%d bytes, %v", all, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	// The first records of a connection are short and alone, on both sides.
	const most = size/(64<<10) + 100
	if below.reads > most || batches > most {
		t.Errorf("%d reads and %d batches for %d MiB, want at most %d", below.reads, batches, size>>20, most)
	}
}
