// Package lan makes a small network of its own for tests: a host with a bridge,
// guests on ports of it, and a machine behind the bridge's uplink. Each is a
// network namespace without a name, which cannot conflict with the network of
// this machine, and which ends with the test. Call [New], then [Namespace.Do]
// to act as one of them. It needs root.
package lan

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is one machine of the network.
type Namespace struct {
	// Links changes its interfaces.
	Links *netlink.Handle

	handle netns.NsHandle
	work   chan func()
	ended  sync.WaitGroup
}

// NewNamespace returns a namespace with its loopback interface up. It ends with
// the test.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	n := &Namespace{work: make(chan func())}
	ready := make(chan error)
	n.ended.Go(func() {
		// Never unlocked: the thread ends with this goroutine, and takes no other into the namespace.
		runtime.LockOSThread()
		var err error
		if n.handle, err = netns.New(); err == nil {
			n.Links, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		}
		ready <- err
		if err != nil {
			return
		}
		for f := range n.work {
			f()
		}
	})
	if err := <-ready; err != nil {
		t.Fatalf("network namespace (it needs root): %v", err)
	}
	t.Cleanup(func() {
		close(n.work)
		n.ended.Wait()
		n.Links.Close()
		if err := n.handle.Close(); err != nil {
			t.Error(err)
		}
	})
	n.Up(t, "lo")
	return n
}

// Do runs f on a thread of the namespace. What f opens stays in the namespace:
// sockets, and children that f starts. f must not start goroutines that open something.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	n.work <- func() { done <- f() }
	return <-done
}

// Up sets an interface up.
func (n *Namespace) Up(t testing.TB, name string) {
	t.Helper()
	must(t, n.Links.LinkSetUp(n.Link(t, name)))
}

// Down sets an interface down.
func (n *Namespace) Down(t testing.TB, name string) {
	t.Helper()
	must(t, n.Links.LinkSetDown(n.Link(t, name)))
}

// Link returns an interface.
func (n *Namespace) Link(t testing.TB, name string) netlink.Link {
	t.Helper()
	link, err := n.Links.LinkByName(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return link
}

// Address gives an interface one more address, "192.0.2.1/24". It can be used at once.
func (n *Namespace) Address(t testing.TB, name, address string) {
	t.Helper()
	a, err := netlink.ParseAddr(address)
	must(t, err)
	a.Flags = unix.IFA_F_NODAD
	must(t, n.Links.AddrReplace(n.Link(t, name), a))
}

// NoAddress takes an address from an interface.
func (n *Namespace) NoAddress(t testing.TB, name, address string) {
	t.Helper()
	a, err := netlink.ParseAddr(address)
	must(t, err)
	must(t, n.Links.AddrDel(n.Link(t, name), a))
}

// NoAddresses takes all addresses from an interface but link-local ones.
func (n *Namespace) NoAddresses(t testing.TB, name string) {
	t.Helper()
	all, err := n.Links.AddrList(n.Link(t, name), netlink.FAMILY_ALL)
	must(t, err)
	for _, one := range all {
		if one.IP.IsLinkLocalUnicast() {
			continue
		}
		if err := n.Links.AddrDel(n.Link(t, name), &one); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Fatal(err)
		}
	}
}

// SetMAC changes the MAC of an interface.
func (n *Namespace) SetMAC(t testing.TB, name, mac string) {
	t.Helper()
	hardware, err := net.ParseMAC(mac)
	must(t, err)
	must(t, n.Links.LinkSetHardwareAddr(n.Link(t, name), hardware))
}

// Bridge makes a bridge and sets it up.
func (n *Namespace) Bridge(t testing.TB, name string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	must(t, n.Links.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	n.Up(t, name)
}

// Plug connects a machine: its interface inside, with that MAC, and a port of
// the bridge. Both are up.
func (n *Namespace) Plug(t testing.TB, bridge, port string, machine *Namespace, inside, mac string) {
	t.Helper()
	hardware, err := net.ParseMAC(mac)
	must(t, err)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = port
	must(t, n.Links.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: inside, PeerHardwareAddr: hardware, PeerNamespace: netlink.NsFd(int(machine.handle))}))
	if bridge != "" {
		must(t, n.Links.LinkSetMaster(n.Link(t, port), n.Link(t, bridge)))
	}
	n.Up(t, port)
	machine.Up(t, inside)
}

// Unplug removes an interface with its other end.
func (n *Namespace) Unplug(t testing.TB, port string) {
	t.Helper()
	must(t, n.Links.LinkDel(n.Link(t, port)))
}

// Forget empties the neighbour table of an interface.
func (n *Namespace) Forget(t testing.TB, name string) {
	t.Helper()
	all, err := n.Links.NeighList(n.Link(t, name).Attrs().Index, netlink.FAMILY_ALL)
	must(t, err)
	for _, one := range all {
		if one.State&netlink.NUD_NOARP == 0 {
			if err := n.Links.NeighDel(&one); err != nil && !errors.Is(err, unix.ENOENT) {
				t.Fatal(err)
			}
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fmt.Errorf("test network: %w", err))
	}
}

// Join makes an interface a port of a bridge.
func (n *Namespace) Join(t testing.TB, bridge, port string) {
	t.Helper()
	must(t, n.Links.LinkSetMaster(n.Link(t, port), n.Link(t, bridge)))
}
