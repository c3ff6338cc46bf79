package pct_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// TestInterfaceThatIsNotABridge: PVE would plug the guest into nothing.
func TestInterfaceThatIsNotABridge(t *testing.T) {
	n, d := newDriver(t)
	s := spec()
	s.Net.Bridge = "eno1"
	wantClass(t, d.Check(t.Context(), vmid, s), driver.ErrNoBridge, `"eno1" exists and is not a bridge`)
	wantClass(t, d.Restore(t.Context(), vmid, s, nil), driver.ErrNoBridge, `"eno1"`)
	for _, call := range n.Calls() {
		if strings.Contains(call, "restore") {
			t.Errorf("called %v", call)
		}
	}
}

// TestNetOfTheArchiveStays: what the golden image's net0 says comes along,
// unless the guest says otherwise.
func TestNetOfTheArchiveStays(t *testing.T) {
	n, d := newDriver(t)
	const net0 = "name=eth0,bridge=vmbr0,firewall=1,hwaddr=BC:24:11:AA:AA:AA,ip=dhcp,"
	archive(t, n, golden, strings.Replace(goldenConfig, net0, net0+"gw6=fe80::1,ip6=auto,mtu=1400,rate=10,tag=7,trunks=8;9,", 1), 0)
	s := spec()
	if err := d.Restore(t.Context(), vmid, s, nil); err != nil {
		t.Fatal(err)
	}
	s.Net = driver.Net{
		Bridge: "vmbr0", VLAN: 9, IP: pctconf.Fixed(netip.MustParsePrefix("192.0.2.7/32")), Gateway: netip.MustParseAddr("198.51.100.1"),
		IP6: pctconf.Fixed(netip.MustParsePrefix("2001:db8::7/64")),
	}
	s.Nameserver = "192.0.2.53"
	if err := d.Restore(t.Context(), vmid+1, s, nil); err != nil {
		t.Fatal(err)
	}
	nets, err := d.Networks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[int]string{
		vmid:     "name=eth0,bridge=vmbr0,firewall=1,gw6=fe80::1,hwaddr=MAC,ip=dhcp,ip6=auto,mtu=1400,rate=10,tag=7,trunks=8;9,type=veth",
		vmid + 1: "name=eth0,bridge=vmbr0,firewall=1,gw=198.51.100.1,hwaddr=MAC,ip=192.0.2.7/32,ip6=2001:db8::7/64,mtu=1400,rate=10,tag=9,trunks=8;9,type=veth",
	} {
		got := nets[id]
		if strings.Replace(want, "MAC", got.MAC, 1) != got.String() || got.MAC == "BC:24:11:AA:AA:AA" {
			t.Errorf("guest %d: want %s\ngot  %s", id, want, got)
		}
	}
}
