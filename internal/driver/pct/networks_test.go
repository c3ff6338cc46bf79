package pct_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/fault"
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

// Without the cluster's file system nothing says that a guest does not exist: to
// take its address for another machine's would lock out every guest of the node.
func TestInterfacesWithoutTheClusterFileSystem(t *testing.T) {
	d, err := pct.New(pct.Options{PVEDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Interfaces(t.Context(), 8200); err == nil || errors.Is(err, driver.ErrNotFound) || fault.Of(err) != fault.NotReady || fault.HintOf(err) == "" {
		t.Errorf("error %v (%v), hint %q; want that the file system is not mounted", err, fault.Of(err), fault.HintOf(err))
	}
}

// TestInterfacesAreOfThisNode: all interfaces of a guest, with each name that
// their ports can have, and none of a guest of another node.
func TestInterfacesAreOfThisNode(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"lxc/8200.conf": "net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,tag=7\nnet1: name=eth1,bridge\n" +
			"net31: name=eth2,bridge=vmbr1,firewall=1,hwaddr=BC:24:11:00:00:02\n[snap]\nnet0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:03\n",
		"nodes/other/lxc/8201.conf": "net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:04\n",
		"lxc/8202.conf":             "hostname: none\n",
	} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	d, err := pct.New(pct.Options{PVEDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	nics, err := d.Interfaces(t.Context(), 8200)
	for _, nic := range nics {
		got += fmt.Sprintln(nic.Bridge, nic.MAC, nic.VLAN, nic.Ports)
	}
	if want := "vmbr0 BC:24:11:00:00:01 7 [veth8200i0 fwpr8200p0]\nvmbr1 BC:24:11:00:00:02 0 [veth8200i31 fwpr8200p31]\n"; got != want || err != nil {
		t.Errorf("%v, want\n%sgot\n%s", err, want, got)
	}
	if nics, err := d.Interfaces(t.Context(), 8202); len(nics) != 0 || err != nil {
		t.Errorf("a guest without interfaces has %v, %v", nics, err)
	}
	if _, err := d.Interfaces(t.Context(), 8201); !errors.Is(err, driver.ErrNotFound) {
		t.Errorf("a guest of another node: %v, want ErrNotFound", err)
	}
}
