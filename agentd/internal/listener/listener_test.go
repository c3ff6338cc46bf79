package listener

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func bindOne(t *testing.T) (net.Listener, netip.AddrPort) {
	t.Helper()
	ls, err := Bind(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ls[0].Close() })
	return ls[0], ls[0].Addr().(*net.TCPAddr).AddrPort()
}

func TestBindNamesTheHolder(t *testing.T) {
	_, taken := bindOne(t)
	_, free := bindOne(t)
	free = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), free.Port())
	_, err := Bind(t.Context(), []netip.AddrPort{free, taken})
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("error %v, want ErrInUse", err)
	}
	for _, want := range []string{taken.String(), "(pid " + strconv.Itoa(os.Getpid()) + ")"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not hold %q", err, want)
		}
	}
	l, err := net.Listen("tcp", free.String())
	if err != nil {
		t.Fatalf("the free address stayed bound: %v", err)
	}
	_ = l.Close()
}

func TestBindOnAnAddressOfAnotherHost(t *testing.T) {
	_, err := Bind(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:8443")})
	if err == nil || errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "no such address") {
		t.Errorf("error %v, want that the host has no such address", err)
	}
}

func TestListeningReadsBothTables(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0700A8C0:20FB 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 11 1
   1: 0700A8C0:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 00000000000000000000000000000000:20FC 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1
   3: B80D0120000000000000000007000000:20FD 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 14 1
`
	for _, c := range []struct{ name, addr, want string }{
		{"same address", "192.168.0.7:8443", "12"},
		{"other address", "192.168.0.8:8443", ""},
		{"any address holds every one", "192.168.0.8:8444", "13"},
		{"ipv6", "[2001:db8::7]:8445", "14"},
		{"other port", "192.168.0.7:8446", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := listening(strings.NewReader(table), netip.MustParseAddrPort(c.addr)); got != c.want {
				t.Errorf("inode %q, want %q", got, c.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	given := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:1")}
	if got, err := Addresses(given, "none", 8443); err != nil || got[0] != given[0] {
		t.Errorf("got %v, %v, want the given list", got, err)
	}
	got, err := Addresses(nil, "lo", 8443)
	if err != nil || got[0].String() != "127.0.0.1:8443" {
		t.Errorf("got %v, %v, want the loopback's address first", got, err)
	}
	if _, err := Addresses(nil, "fg-none0", 8443); err == nil || !strings.Contains(err.Error(), "fg-none0") {
		t.Errorf("error %v, want one that names the bridge", err)
	}
}

func TestCaps(t *testing.T) {
	t0 := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	a, b := SourceOf(netip.MustParseAddr("192.0.2.1")), SourceOf(netip.MustParseAddr("192.0.2.2"))
	takeN := func(c *Caps, from netip.Prefix, n int, now time.Time) (got int) {
		for range n {
			if _, ok := c.take(&Conn{from: from}, now); ok {
				got++
			}
		}
		return got
	}
	t.Run("per source", func(t *testing.T) {
		c := NewCaps(3, 100, 100)
		if got := takeN(c, a, 10, t0); got != 3 {
			t.Errorf("%d of one source, want 3", got)
		}
		if got := takeN(c, b, 1, t0); got != 1 {
			t.Error("another source was refused")
		}
		for conn := range c.conns {
			if conn.from == a {
				c.remove(conn)
				c.remove(conn) // counts once
				break
			}
		}
		if got := takeN(c, a, 10, t0); got != 1 {
			t.Errorf("%d after one was closed, want 1", got)
		}
	})
	t.Run("new ones per second", func(t *testing.T) {
		c := NewCaps(1000, 4000, 2)
		if got := takeN(c, a, 100, t0); got != 2*burstSeconds {
			t.Errorf("%d at once, want %d", got, 2*burstSeconds)
		}
		if got := takeN(c, a, 100, t0.Add(3*time.Second)); got != 6 {
			t.Errorf("%d after three seconds, want 6", got)
		}
	})
	t.Run("one /64 is one source", func(t *testing.T) {
		c := NewCaps(1, 100, 100)
		first, second := SourceOf(netip.MustParseAddr("2001:db8::1")), SourceOf(netip.MustParseAddr("2001:db8::ffff"))
		if got := takeN(c, first, 1, t0) + takeN(c, second, 1, t0); got != 1 {
			t.Errorf("%d of one network, want 1", got)
		}
	})
	t.Run("many sources do not take more memory", func(t *testing.T) {
		c := NewCaps(1, 1<<20, 1)
		addr := netip.MustParseAddr("10.0.0.0")
		for i := range 2 * maxSources {
			conn := &Conn{from: SourceOf(addr)}
			if _, ok := c.take(conn, t0.Add(time.Duration(i)*time.Minute)); ok {
				c.remove(conn)
			}
			addr = addr.Next()
		}
		if len(c.sources) > maxSources {
			t.Errorf("%d sources are kept, want at most %d", len(c.sources), maxSources)
		}
	})
}

// counts takes connections that have no socket.
type counts struct {
	*Caps
	t   *testing.T
	now time.Time
}

func (c *counts) take(source byte) (conn, evicted *Conn) {
	c.t.Helper()
	c.now = c.now.Add(time.Second)
	conn = &Conn{from: SourceOf(netip.AddrFrom4([4]byte{192, 0, 2, source}))}
	evicted, ok := c.Caps.take(conn, c.now)
	if !ok {
		c.t.Fatalf("source %d was refused", source)
	}
	if len(c.conns) > c.total {
		c.t.Fatalf("%d connections, want at most %d", len(c.conns), c.total)
	}
	return conn, evicted
}

func TestAFullShareMakesRoom(t *testing.T) {
	c := &counts{NewCaps(8, 12, 100), t, time.Now()}
	oldest, _ := c.take(1)
	for range 3 {
		c.take(1)
	}
	c.take(2)
	if _, evicted := c.take(2); evicted != nil {
		t.Error("a connection was evicted below the limit")
	}
	if _, evicted := c.take(3); evicted != oldest {
		t.Errorf("evicted %+v, want the oldest of the source that has the most", evicted)
	}
	if c.unknown != 6 {
		t.Errorf("%d unknown, want one of two", c.unknown)
	}
	known, _ := c.take(4)
	if !known.Trust(100) {
		t.Error("the first connection of a guest is not kept")
	}
	for range 5 {
		if _, evicted := c.take(4); evicted != nil {
			t.Error("a known source took another's place although there is room")
		}
	}
}

// A guest that uses its token from many addresses gets neither more connections
// that are kept, nor more known sources.
func TestAGuestWithManyAddresses(t *testing.T) {
	c := &counts{NewCaps(4, 64, 100), t, time.Now()}
	kept := 0
	for source := range byte(32) {
		for range 4 {
			conn, _ := c.take(source)
			if conn.Trust(100) {
				kept++
			}
		}
	}
	if kept != 4 || c.guests[100] != 4 {
		t.Errorf("%d connections are kept, counted %d, want 4", kept, c.guests[100])
	}
	if len(c.recent) != sourcesPerGuest {
		t.Errorf("%d known sources, want %d", len(c.recent), sourcesPerGuest)
	}
	for conn := range c.conns {
		c.remove(conn)
	}
	if c.unknown != 0 || len(c.guests) != 0 {
		t.Errorf("after all were closed: %d unknown, guests %v", c.unknown, c.guests)
	}
	for from, s := range c.sources {
		if s.open != 0 || s.untrusted != 0 {
			t.Errorf("%v has %+v left", from, s)
		}
	}
}

func TestIdleConnectionsGiveTheirPlace(t *testing.T) {
	c := &counts{NewCaps(8, 4, 100), t, time.Now()}
	busy, _ := c.take(1)
	idle, _ := c.take(2)
	for guest, conn := range map[int]*Conn{100: busy, 101: idle} {
		conn.Trust(guest)
	}
	idle.SetIdle(true)
	for range 2 {
		conn, _ := c.take(3)
		conn.Trust(102)
	}
	if _, evicted := c.take(4); evicted != idle {
		t.Errorf("evicted %+v, want the idle one", evicted)
	}
	if idle.Trust(101) {
		t.Error("a connection that was evicted is said to be kept")
	}
}

func TestWrapClosesWhatIsOverTheCap(t *testing.T) {
	l, addr := bindOne(t)
	wrapped := NewCaps(1, 10, 100).Wrap(l)
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := wrapped.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	dial()
	server := <-accepted
	if n, err := dial().Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("second connection: read %d, %v, want it closed", n, err)
	}
	_ = server.Close()
	_ = server.Close() // closing twice counts once
	dial()
	_ = (<-accepted).Close()
	_ = l.Close()
	if _, open := <-accepted; open {
		t.Error("a connection came from a closed listener")
	}
}
