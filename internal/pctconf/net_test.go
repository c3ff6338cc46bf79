package pctconf_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

func fixed(s string) pctconf.IP { return pctconf.Fixed(netip.MustParsePrefix(s)) }

var compareNets = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// TestNet reads every part and writes it again; what PVE can write is kept.
func TestNet(t *testing.T) {
	for _, c := range []struct {
		text string
		want pctconf.Net
	}{
		{"name=eth0,bridge=vmbr0,ip=dhcp,type=veth", pctconf.Net{Name: "eth0", Bridge: "vmbr0", IP: pctconf.IP{Word: pctconf.DHCP}}},
		{
			"name=eth0,bridge=vmbr0,firewall=1,gw=192.0.2.1,gw6=fe80::1,host-managed=1,hwaddr=BC:24:11:AA:AA:AA,ip=192.0.2.7/24,ip6=2001:db8::7/64,link_down=1,mtu=1400,rate=12.5,tag=7,trunks=1;5-9,type=veth",
			pctconf.Net{
				Name: "eth0", Bridge: "vmbr0", MAC: "BC:24:11:AA:AA:AA", IP: fixed("192.0.2.7/24"), IP6: fixed("2001:db8::7/64"),
				Gateway: netip.MustParseAddr("192.0.2.1"), Gateway6: netip.MustParseAddr("fe80::1"), VLAN: 7, MTU: 1400,
				Firewall: true, LinkDown: true, HostManaged: true, Rate: "12.5", Trunks: "1;5-9",
			},
		},
		{"name=eth0,ip=manual,ip6=auto,type=veth", pctconf.Net{Name: "eth0", IP: pctconf.IP{Word: pctconf.Manual}, IP6: pctconf.IP{Word: pctconf.Auto}}},
	} {
		got, err := pctconf.ParseNet(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if d := cmp.Diff(c.want, got, compareNets); d != "" {
			t.Errorf("%s: want -, got +:\n%s", c.text, d)
		}
		if got.String() != c.text {
			t.Errorf("want %s\ngot  %s", c.text, got)
		}
		if again, err := pctconf.Canonical("net0", got.String()); err != nil || again != c.text {
			t.Errorf("want %s\ngot  %s, %v", c.text, again, err)
		}
	}
}

func TestNetRefused(t *testing.T) {
	for text, want := range map[string]string{
		"bridge=vmbr0":                         "no property name",
		"name=eth0,color=red":                  `no property "color"`,
		"name=eth0,ip=auto":                    "ip: ",
		"name=eth0,ip=2001:db8::1/64":          "ip: ",
		"name=eth0,ip=192.0.2.7":               "ip: ",
		"name=eth0,ip6=192.0.2.7/24":           "ip6: ",
		"name=eth0,ip6=::ffff:192.0.2.7/120":   "ip6: ",
		"name=eth0,ip6=2001:db8::1/129":        "ip6: ",
		"name=eth0,ip6=auto,gw6=fe80::1%eth0":  "gw6: ",
		"name=eth0,gw6=::ffff:192.0.2.7":       "gw6: ",
		"name=eth0,gw=fe80::1":                 "gw: ",
		"name=eth0,tag=4095":                   "tag: ",
		"name=eth0,mtu=63":                     "mtu: ",
		"name=eth0,hwaddr=01:00:00:00:00:00":   "hwaddr: ",
		"name=eth0,firewall=maybe":             "firewall: ",
		"name=eth0,ip=dhcp,ip=manual":          "ip is given twice",
		"name=eth0,bridge=../../etc":           "bridge: ",
		"name=eth0,ip6=auto,gw6=fe80::1\tdown": "gw6: ",
	} {
		if _, err := pctconf.ParseNet(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", text, err, want)
		}
	}
}

// TestNetWith: what the golden image's interface says stays unless the guest
// says otherwise.
func TestNetWith(t *testing.T) {
	const golden = "name=eth0,bridge=vmbr0,firewall=1,gw=192.0.2.1,gw6=fe80::1,hwaddr=BC:24:11:AA:AA:AA,ip=192.0.2.7/24,ip6=auto,mtu=1400,tag=7,type=veth"
	for _, c := range []struct {
		name, golden string
		with         pctconf.Net
		want         string
	}{
		{"nothing", golden, pctconf.Net{}, "name=eth0,bridge=vmbr0,firewall=1,gw6=fe80::1,ip=dhcp,ip6=auto,mtu=1400,tag=7,type=veth"},
		{"a bridge", golden, pctconf.Net{Bridge: "br0"}, "name=eth0,bridge=br0,firewall=1,gw6=fe80::1,ip=dhcp,ip6=auto,mtu=1400,tag=7,type=veth"},
		{
			"dual stack",
			golden,
			pctconf.Net{IP: fixed("192.0.2.8/24"), IP6: fixed("2001:db8::8/64"), Gateway6: netip.MustParseAddr("2001:db8::1"), VLAN: 9},
			"name=eth0,bridge=vmbr0,firewall=1,gw6=2001:db8::1,ip=192.0.2.8/24,ip6=2001:db8::8/64,mtu=1400,tag=9,type=veth",
		},
		{"IPv6 alone", "name=eth0,ip6=auto", pctconf.Net{Bridge: "br0"}, "name=eth0,bridge=br0,ip6=auto,type=veth"},
		{"manual", "name=eth0,ip=manual", pctconf.Net{Bridge: "br0"}, "name=eth0,bridge=br0,ip=manual,type=veth"},
		{"none", "", pctconf.Net{Bridge: "br0"}, "name=eth0,bridge=br0,ip=dhcp,type=veth"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n pctconf.Net
			if c.golden != "" {
				var err error
				if n, err = pctconf.ParseNet(c.golden); err != nil {
					t.Fatal(err)
				}
			}
			if got := n.With(c.with).String(); got != c.want {
				t.Errorf("want %s\ngot  %s", c.want, got)
			}
		})
	}
}
