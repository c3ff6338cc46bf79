//go:build integration

package origin_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/e2e/lan"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

const (
	macA, macB, macLAN = "bc:24:11:00:00:0a", "bc:24:11:00:00:0b", "02:00:00:00:00:01"
	guestA, guestB     = 8200, 8201
)

// network is a host with two guests, of which B's port is behind PVE's firewall
// bridge, and a machine on its LAN.
type network struct {
	host, a, b, lan *lan.Namespace
	checker         *origin.Checker

	mu   sync.Mutex
	nics map[int][]driver.Interface
}

func nic(vmid, number int, bridge, mac string) driver.Interface {
	return driver.Interface{
		Net:   pctconf.Net{Name: "eth0", Bridge: bridge, MAC: mac},
		Ports: []string{driver.PortName(vmid, number), fmt.Sprintf("fwpr%dp%d", vmid, number)},
	}
}

func newNetwork(t testing.TB) *network {
	n := &network{host: lan.NewNamespace(t), a: lan.NewNamespace(t), b: lan.NewNamespace(t), lan: lan.NewNamespace(t), nics: map[int][]driver.Interface{
		guestA: {nic(guestA, 0, "vmbr0", "BC:24:11:00:00:0A")}, guestB: {nic(guestB, 0, "vmbr0", "BC:24:11:00:00:0B")},
	}}
	n.host.Bridge(t, "vmbr0")
	n.host.Plug(t, "vmbr0", "veth8200i0", n.a, "eth0", macA)
	n.host.Bridge(t, "fwbr8201i0")
	n.host.Plug(t, "fwbr8201i0", "veth8201i0", n.b, "eth0", macB)
	n.host.Plug(t, "vmbr0", "fwpr8201p0", n.host, "fwln8201i0", "02:00:00:00:00:02")
	n.host.Join(t, "fwbr8201i0", "fwln8201i0")
	n.host.Plug(t, "vmbr0", "eno1", n.lan, "eth0", macLAN)
	n.address(t, n.host, "vmbr0", 1)
	n.address(t, n.a, "eth0", 10)
	n.address(t, n.b, "eth0", 11)
	n.address(t, n.lan, "eth0", 50)
	n.open(t)
	return n
}

func (n *network) address(t testing.TB, at *lan.Namespace, name string, number int) {
	t.Helper()
	at.Address(t, name, fmt.Sprintf("192.0.2.%d/24", number))
	at.Address(t, name, fmt.Sprintf("2001:db8::%d/64", number))
}

func (n *network) open(t testing.TB) {
	t.Helper()
	err := n.host.Do(func() (err error) {
		n.checker, err = origin.Open(n.interfaces)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.checker.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (n *network) interfaces(_ context.Context, vmid int) ([]driver.Interface, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	nics, ok := n.nics[vmid]
	if !ok {
		return nil, driver.ErrNotFound
	}
	return nics, nil
}

func (n *network) set(vmid int, nics ...driver.Interface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nics[vmid] = nics
}

// connect connects from one machine to an address of another, as one of its addresses.
func connect(t testing.TB, server, client *lan.Namespace, source, target string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if err = tryConnect(server, client, source, target); err == nil {
			return
		}
	}
	t.Fatalf("from %s to %s: %v", source, target, err)
}

// tryConnect gives up soon: the kernel does not believe a new MAC at once.
func tryConnect(server, client *lan.Namespace, source, target string) error {
	var l net.Listener
	err := server.Do(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(target, "0"))
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	return client.Do(func() error {
		from := netip.AddrPortFrom(netip.MustParseAddr(source), 0)
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return err
		}
		to := netip.MustParseAddr(withoutZone(target)).WithZone(from.Addr().Zone())
		c, err := (&net.Dialer{Timeout: time.Second, LocalAddr: net.TCPAddrFromAddrPort(from)}).Dial("tcp", net.JoinHostPort(to.String(), port))
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// withoutZone is an address as another machine names it.
func withoutZone(address string) string { host, _, _ := strings.Cut(address, "%"); return host }

// want checks that source is guest vmid (""), or why it is not.
func (n *network) want(t *testing.T, source string, vmid int, reason origin.Reason) {
	t.Helper()
	err := n.checker.Check(t.Context(), netip.MustParseAddr(source), vmid)
	var got origin.Reason
	if m, ok := errors.AsType[*origin.Mismatch](err); ok {
		got = m.Reason
	}
	if got != reason || (err != nil) != (reason != "") {
		t.Errorf("%s as guest %d: want %q, got %v", source, vmid, reason, err)
	}
}

func TestGuestsOfABridge(t *testing.T) {
	n := newNetwork(t)
	for _, net := range []string{"192.0.2.", "2001:db8::"} {
		connect(t, n.host, n.a, net+"10", net+"1")
		connect(t, n.host, n.b, net+"11", net+"1")
		connect(t, n.host, n.lan, net+"50", net+"1")
		for range 3 { // the second time from memory
			n.want(t, net+"10", guestA, "")
			n.want(t, net+"11", guestB, "")
			n.want(t, net+"11", guestA, origin.OtherPort)
			n.want(t, net+"10", guestB, origin.OtherPort)
			n.want(t, net+"50", guestA, origin.OtherPort)
			n.want(t, net+"10", 8299, origin.NoGuest)
			n.want(t, net+"1", guestA, origin.FromHost)
			n.want(t, net+"99", guestA, origin.NoNeighbor)
		}
	}
	n.want(t, "::ffff:192.0.2.10", guestA, "")
	n.want(t, "::ffff:192.0.2.11", guestA, origin.OtherPort)
	n.want(t, "127.0.0.1", guestA, origin.FromHost)
	n.want(t, "::1", guestA, origin.FromHost)
	n.want(t, "198.51.100.1", guestA, origin.Routed)
	n.want(t, "224.0.0.1", guestA, origin.Routed)
	n.want(t, "ff02::1%vmbr0", guestA, origin.Routed)
	counts := n.checker.Counts()
	if counts.Checked == 0 || counts.Mismatches[origin.OtherPort] < 6 {
		t.Errorf("counts are %+v", counts)
	}
}

// The threat table's second row: a token of A, shown by B in each way that B has.
func TestGuestBAsGuestA(t *testing.T) {
	for _, c := range []struct {
		name       string
		ip, mac    bool
		wantReason origin.Reason
	}{
		{name: "token", wantReason: origin.OtherPort},
		{name: "address", ip: true, wantReason: origin.Moved},
		{name: "MAC", mac: true, wantReason: origin.Moved},
		{name: "address and MAC", ip: true, mac: true, wantReason: origin.Moved},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNetwork(t)
			connect(t, n.host, n.a, "192.0.2.10", "192.0.2.1")
			n.want(t, "192.0.2.10", guestA, "")
			source := "192.0.2.11"
			if c.mac {
				n.b.SetMAC(t, "eth0", macA)
			}
			if c.ip {
				source = "192.0.2.10"
				n.b.NoAddress(t, "eth0", "192.0.2.11/24")
				n.b.Address(t, "eth0", source+"/24")
				if !c.mac {
					n.a.Down(t, "eth0") // else it ends the connection of B by RST
				}
			}
			n.steal(t, n.b, source)
			n.want(t, source, guestA, c.wantReason)
			wantOfB := origin.Reason("")
			if c.ip || c.mac {
				wantOfB = origin.Moved
			}
			n.want(t, source, guestB, wantOfB)
		})
	}
}

// steal makes the host see source at another machine, whether or not a
// connection succeeds.
func (n *network) steal(t *testing.T, thief *lan.Namespace, source string) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		thief.Forget(t, "eth0") // it asks for the host's MAC, and says its own
		if err = tryConnect(n.host, thief, source, "192.0.2.1"); err == nil {
			return
		}
	}
	t.Fatalf("%s reaches nothing: %v", source, err)
}

// A change of the host's network or of a guest's configuration counts with the
// next request.
func TestChangesOfGuestsAndPorts(t *testing.T) {
	n := newNetwork(t)
	reach := func() { connect(t, n.host, n.a, "192.0.2.10", "192.0.2.1") }
	reach()
	n.want(t, "192.0.2.10", guestA, "")
	n.rename(t, "veth8200i0", "veth8201i7")
	n.want(t, "192.0.2.10", guestA, origin.OtherPort)
	n.rename(t, "veth8201i7", "veth8200i0")
	n.want(t, "192.0.2.10", guestA, "")

	// With its second interface, on another bridge with another network, as well.
	n.host.Bridge(t, "vmbr1")
	n.host.Address(t, "vmbr1", "198.51.100.1/24")
	n.host.Plug(t, "vmbr1", "veth8200i1", n.a, "eth1", "bc:24:11:00:00:1a")
	n.a.Address(t, "eth1", "198.51.100.10/24")
	connect(t, n.host, n.a, "198.51.100.10", "198.51.100.1")
	n.want(t, "198.51.100.10", guestA, origin.OtherPort)
	n.set(guestA, nic(guestA, 0, "vmbr0", macA), nic(guestA, 1, "vmbr1", "BC:24:11:00:00:1A"))
	n.soon(t, "198.51.100.10", guestA, "")
	n.want(t, "192.0.2.10", guestA, "")
	// The MAC of one interface at the port of the other.
	n.set(guestA, nic(guestA, 0, "vmbr0", "bc:24:11:00:00:1a"), nic(guestA, 1, "vmbr1", macA))
	n.host.Unplug(t, "veth8200i1") // the kernel's message of it ends what is kept
	n.want(t, "192.0.2.10", guestA, origin.OtherMAC)
	n.set(guestA, nic(guestA, 0, "vmbr1", macA))
	n.soon(t, "192.0.2.10", guestA, origin.OtherBridge)
	n.set(guestA, driver.Interface{Net: pctconf.Net{Bridge: "vmbr0", VLAN: 7}, Ports: []string{"veth8200i0"}})
	n.soon(t, "192.0.2.10", guestA, origin.OtherMAC) // without a MAC in the configuration

	// The guest is removed, and its VMID is another's with another MAC.
	n.set(guestA)
	n.host.Unplug(t, "veth8200i0")
	// The kernel may know the MAC still, but no port of it.
	err := n.checker.Check(t.Context(), netip.MustParseAddr("192.0.2.10"), guestA)
	if m, ok := errors.AsType[*origin.Mismatch](err); !ok || m.Reason != origin.NoPort && m.Reason != origin.NoNeighbor {
		t.Errorf("a guest that was removed: %v", err)
	}
	const fresh = "bc:24:11:00:00:2a"
	n.host.Plug(t, "vmbr0", "veth8200i0", n.a, "eth0", fresh)
	n.a.Address(t, "eth0", "192.0.2.10/24")
	n.set(guestA, nic(guestA, 0, "vmbr0", fresh))
	n.host.Forget(t, "vmbr0")
	reach()
	n.want(t, "192.0.2.10", guestA, "")
	n.set(guestA, nic(guestA, 0, "vmbr0", macA))
	n.host.Forget(t, "vmbr0")
	reach()
	n.want(t, "192.0.2.10", guestA, origin.OtherMAC)
}

// A link-local address is of the interface of its zone alone.
func TestLinkLocalAddresses(t *testing.T) {
	n := newNetwork(t)
	n.host.Bridge(t, "vmbr1")
	n.host.Plug(t, "vmbr1", "veth8201i1", n.b, "eth1", "bc:24:11:00:00:1b")
	n.host.Address(t, "vmbr0", "fe80::1/64")
	n.host.Address(t, "vmbr1", "fe80::1/64")
	n.a.Address(t, "eth0", "fe80::10/64")
	n.b.Address(t, "eth1", "fe80::10/64") // the same as A's, on another bridge
	connect(t, n.host, n.a, "fe80::10%eth0", "fe80::1%vmbr0")
	connect(t, n.host, n.b, "fe80::10%eth1", "fe80::1%vmbr1")
	n.want(t, "fe80::10%vmbr0", guestA, "")
	n.want(t, "fe80::10%vmbr1", guestA, origin.OtherPort)
	n.want(t, fmt.Sprintf("fe80::10%%%d", n.host.Link(t, "vmbr0").Attrs().Index), guestA, "")
	n.want(t, "fe80::10%vmbr0", guestA, "")
	n.want(t, "fe80::10%none", guestA, origin.Failed)
}

// rename gives a port of the host another name.
func (n *network) rename(t *testing.T, from, to string) {
	t.Helper()
	link := n.host.Link(t, from)
	if err := errors.Join(n.host.Links.LinkSetDown(link), n.host.Links.LinkSetName(link, to), n.host.Links.LinkSetUp(link)); err != nil {
		t.Fatal(err)
	}
	connect(t, n.host, n.a, "192.0.2.10", "192.0.2.1")
}

// soon is want for a change that the kernel does not know: it counts when what
// was kept ends.
func (n *network) soon(t *testing.T, source string, vmid int, reason origin.Reason) {
	t.Helper()
	n.host.Address(t, "lo", "203.0.113.1/32")
	n.host.NoAddress(t, "lo", "203.0.113.1/32")
	n.want(t, source, vmid, reason)
}

func BenchmarkCheck(b *testing.B) {
	n := newNetwork(b)
	connect(b, n.host, n.a, "192.0.2.10", "192.0.2.1")
	source := netip.MustParseAddr("192.0.2.10")
	b.Run("cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := n.checker.Check(b.Context(), source, guestA); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("looked up", func(b *testing.B) {
		b.ReportAllocs()
		other := netip.MustParseAddr("192.0.2.10")
		for b.Loop() {
			// The answer for another guest takes the place of the one before.
			if err := n.checker.Check(b.Context(), other, guestA); err != nil {
				b.Fatal(err)
			}
			if err := n.checker.Check(b.Context(), other, 8299); err == nil {
				b.Fatal("guest 8299 does not exist")
			}
		}
	})
}
