package listener_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/listener"
)

// A set serves from exactly the addresses that it follows; connections under way
// stay, and an address that cannot be bound changes nothing.
func TestSetFollow(t *testing.T) {
	var running sync.WaitGroup
	set := listener.NewSet(func(work func() error) {
		running.Go(func() {
			if err := work(); err != nil {
				t.Errorf("a listener that the set closed: %v", err)
			}
		})
	}, func(l net.Listener) error {
		for {
			conn, err := l.Accept()
			if err != nil {
				return err
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	})
	first, err := listener.Bind(t.Context(), []netip.AddrPort{netip.MustParseAddrPort("127.9.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	one := netip.MustParseAddrPort(first[0].Addr().String())
	set.Start([]netip.AddrPort{one}, first)
	two := netip.AddrPortFrom(netip.MustParseAddr("127.9.0.2"), one.Port())
	echo := func(conn net.Conn) error {
		var got [1]byte
		if _, err := conn.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, got[:])
		return err
	}
	serves := func(a netip.AddrPort, want bool) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", a.String())
		if err == nil {
			err = echo(conn)
		}
		if (err == nil) != want {
			t.Errorf("%s is served: %v, want %v", a, err == nil, want)
		}
		if !want && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v, want it refused", a, err)
		}
		return conn
	}
	kept := serves(one, true)
	if err := set.Follow(t.Context(), []netip.AddrPort{one, two}); err != nil {
		t.Fatal(err)
	}
	serves(one, true)
	serves(two, true)
	if err := set.Follow(t.Context(), []netip.AddrPort{two, netip.MustParseAddrPort(fmt.Sprintf("192.0.2.7:%d", one.Port()))}); err == nil {
		t.Error("an address that this host does not have was bound")
	}
	serves(one, true)
	serves(two, true)
	if err := set.Follow(t.Context(), []netip.AddrPort{two}); err != nil {
		t.Fatal(err)
	}
	serves(one, false)
	serves(two, true)
	if err := echo(kept); err != nil {
		t.Errorf("a connection under way: %v", err)
	}
	if err := set.Follow(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	serves(two, false)
	running.Wait()
}
