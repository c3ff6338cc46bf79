package listener

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Who looks for a guest that is not answered sees which cap closed its connection.
func TestRefusedConnectionsAreNamed(t *testing.T) {
	for want, caps := range map[string]*Caps{
		"limits.connections_per_source":             NewCaps(1, 10, 10),
		"limits.handshakes_per_second":              NewCaps(100, 100, 1),
		"limits.connections_total, for a newer one": NewCaps(100, 2, 100),
	} {
		t.Run(want, func(t *testing.T) {
			type closed struct {
				source netip.Prefix
				why    string
			}
			got := make(chan closed, 1)
			caps.Refused = func(source netip.Prefix, why string) {
				select {
				case got <- closed{source, why}:
				default: // the first one is looked at
				}
			}
			l, addr := bindOne(t)
			wrapped := caps.Wrap(l)
			ended := make(chan struct{})
			t.Cleanup(func() {
				_ = l.Close()
				<-ended
			})
			go func() {
				defer close(ended)
				for {
					conn, err := wrapped.Accept()
					if err != nil {
						return
					}
					defer func() { _ = conn.Close() }()
				}
			}()
			// Each second allows a source another one: a slow machine needs more than the burst.
			again := time.NewTicker(10 * time.Millisecond)
			defer again.Stop()
			for deadline := time.Now().Add(time.Minute); ; {
				conn, err := net.Dial("tcp", addr.String())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				select {
				case one := <-got:
					if one.why != want || one.source != SourceOf(addr.Addr()) {
						t.Errorf("%v was closed by %q, want %v by %q", one.source, one.why, addr.Addr(), want)
					}
					return
				case <-again.C:
				}
				if time.Now().After(deadline) {
					t.Fatal("none was closed")
				}
			}
		})
	}
}

// A guest that has too many connections, of whatever addresses, is served and its
// connection then closed: who looks for the reason finds it, once for each.
func TestAGuestWithTooManyConnectionsIsNamed(t *testing.T) {
	c := &counts{NewCaps(2, 64, 100), t, time.Now()}
	var got []string
	c.Refused = func(source netip.Prefix, why string) { got = append(got, source.String()+" "+why) }
	for source := range byte(3) {
		conn, _ := c.take(source)
		for range 2 { // two requests
			conn.Trust(8200)
		}
		if source < 2 {
			continue
		}
		c.remove(conn)
		if conn.Trust(8200) {
			t.Error("a connection that is closed is said to be kept")
		}
	}
	first, _ := c.take(9)
	c.remove(first)
	first.Trust(8201) // evicted before
	want := "limits.connections_per_source, for guest 8200 from all its addresses"
	if len(got) != 2 || got[0] != got[1] || !strings.HasSuffix(got[0], want) {
		t.Errorf("reported %q, want %q for the third", got, want)
	}
}
