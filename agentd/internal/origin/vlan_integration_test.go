//go:build integration

package origin_test

import (
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// For a guest with a tag on a bridge that does not know VLANs, PVE makes a bridge
// of that tag, vmbr0v7, with the guest's port on it.
func TestAGuestWithATag(t *testing.T) {
	n := newNetwork(t)
	const mac, source = "bc:24:11:00:00:0c", "198.51.100.12"
	for _, bridge := range []string{"vmbr0v7", "vmbr0v8"} {
		n.host.Bridge(t, bridge)
	}
	n.host.Address(t, "vmbr0v7", "198.51.100.1/24")
	n.host.Plug(t, "vmbr0v7", "veth8202i0", n.b, "eth1", mac)
	n.b.Address(t, "eth1", source+"/24")
	connect(t, n.host, n.b, source, "198.51.100.1")
	for _, c := range []struct {
		name   string
		bridge string
		tag    int
		want   origin.Reason
	}{
		{"its tag", "vmbr0", 7, ""},
		{"another tag", "vmbr0", 8, origin.OtherBridge},
		{"a tag that begins with it", "vmbr0", 70, origin.OtherBridge},
		{"no tag", "vmbr0", 0, origin.OtherBridge},
		{"another bridge's tag", "vmbr1", 7, origin.OtherBridge},
		{"the bridge itself", "vmbr0v7", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n.set(8202, driver.Interface{Net: pctconf.Net{Name: "eth0", Bridge: c.bridge, VLAN: c.tag, MAC: mac}, Ports: []string{driver.PortName(8202, 0)}})
			n.soon(t, source, 8202, c.want)
		})
	}
	n.want(t, source, guestA, origin.OtherPort)
	connect(t, n.host, n.a, "192.0.2.10", "192.0.2.1")
	n.want(t, "192.0.2.10", guestA, "")
	n.want(t, "192.0.2.10", 8202, origin.OtherPort)
}

// What the neighbour table loses while the guest is silent is not known: what
// was found before is not used, and what comes after is looked up again.
func TestAnEntryThatIsPushedOut(t *testing.T) {
	n := newNetwork(t)
	for _, net := range []string{"192.0.2.", "2001:db8::"} {
		for range 3 {
			connect(t, n.host, n.a, net+"10", net+"1")
			n.want(t, net+"10", guestA, "")
			n.a.Down(t, "eth0") // it does not answer
			n.host.Forget(t, "vmbr0")
			n.want(t, net+"10", guestA, origin.NoNeighbor)
			n.a.Up(t, "eth0")
			n.address(t, n.a, "eth0", 10) // the kernel took its IPv6 address
		}
	}
}
