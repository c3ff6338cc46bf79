package listener

import (
	"net"
	"net/netip"
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
