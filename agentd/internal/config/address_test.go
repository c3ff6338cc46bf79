package config_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/config"
)

// guestOf returns a guest with these keys, or the first error.
func guestOf(keys ...string) (config.Guest, error) {
	g := config.Guest{VMID: 8200, Golden: "/a", Bridge: "vmbr0"}
	for _, text := range keys {
		key, value, _ := strings.Cut(text, "=")
		if err := g.Set(key, value); err != nil {
			return g, err
		}
	}
	return g, g.Check()
}

// TestGuestNet: every way to an address, as it is in net0.
func TestGuestNet(t *testing.T) {
	for _, c := range []struct{ keys, want string }{
		{"", "ip= ip6= gw=- gw6=-"},
		{"ip=dhcp", "ip=dhcp ip6= gw=- gw6=-"},
		{"ip=manual ip6=auto", "ip=manual ip6=auto gw=- gw6=-"},
		{"ip6=dhcp", "ip= ip6=dhcp gw=- gw6=-"},
		{"ip=192.0.2.7/24 gateway=192.0.2.1 ip6=2001:db8::7/64 gateway6=fe80::1", "ip=192.0.2.7/24 ip6=2001:db8::7/64 gw=192.0.2.1 gw6=fe80::1"},
		{"ip=192.0.2.7/32 gateway=198.51.100.1 ip6=2001:db8::7/128 gateway6=2001:db9::1", "ip=192.0.2.7/32 ip6=2001:db8::7/128 gw=198.51.100.1 gw6=2001:db9::1"},
		{"ip=2001:db8::7/64 gateway=fe80::1", "ip=manual ip6=2001:db8::7/64 gw=- gw6=fe80::1"},
		{"ip=2001:db8::7/64 gateway6=fe80::1", "ip=manual ip6=2001:db8::7/64 gw=- gw6=fe80::1"},
		{"ip=manual ip6=2001:db8::7/64", "ip=manual ip6=2001:db8::7/64 gw=- gw6=-"},
		{"ip=192.0.2.7/32 gateway=169.254.1.1", "ip=192.0.2.7/32 ip6= gw=169.254.1.1 gw6=-"},
		{"ip=192.0.2.1/31 gateway=192.0.2.0", "ip=192.0.2.1/31 ip6= gw=192.0.2.0 gw6=-"},
		{"ip=10.0.0.7/24 gateway=10.1.0.0", "ip=10.0.0.7/24 ip6= gw=10.1.0.0 gw6=-"},
		{"ip6=2001:db8::7/64 gateway6=2001:db8::", "ip= ip6=2001:db8::7/64 gw=- gw6=2001:db8::"},
		{"ip=192.0.2.0/31", "ip=192.0.2.0/31 ip6= gw=- gw6=-"},
		{"ip6=2001:db8::/127", "ip= ip6=2001:db8::/127 gw=- gw6=-"},
	} {
		g, err := guestOf(strings.Fields(c.keys)...)
		if err != nil {
			t.Errorf("%s: %v", c.keys, err)
			continue
		}
		n := g.Net()
		show := func(a netip.Addr) string {
			if !a.IsValid() {
				return "-"
			}
			return a.String()
		}
		if got := "ip=" + n.IP.String() + " ip6=" + n.IP6.String() + " gw=" + show(n.Gateway) + " gw6=" + show(n.Gateway6); got != c.want {
			t.Errorf("%s: want %s, got %s", c.keys, c.want, got)
		}
	}
}

func TestGuestAddressesRefused(t *testing.T) {
	for keys, want := range map[string]string{
		"ip=auto":                                            "give it as ip6",
		"ip=192.0.2.7":                                       "want dhcp, manual, or an address",
		"ip6=192.0.2.7/24":                                   "want auto, dhcp, manual",
		"ip6=::ffff:192.0.2.7/120":                           "want auto, dhcp, manual",
		"ip6=fe80::7%eth0/64":                                "want auto, dhcp, manual",
		"gateway6=fe80::1%eth0":                              "want an address like fe80::1",
		"gateway=0.0.0.0":                                    "want an address like 192.0.2.1",
		"nameserver=dns.example":                             "want the address of a name server",
		"ip=192.0.2.0/24":                                    "the address of the network 192.0.2.0/24",
		"ip=192.0.2.255/24":                                  "the broadcast address of 192.0.2.0/24",
		"ip=10.1.255.255/15":                                 "the broadcast address of 10.0.0.0/15",
		"ip=255.255.255.255/32":                              "the broadcast address",
		"ip=127.0.0.5/8":                                     "loopback",
		"ip=224.0.0.5/4":                                     "multicast",
		"ip=169.254.3.4/16":                                  "link-local",
		"ip=192.0.2.7/0":                                     "the whole Internet",
		"ip6=2001:db8::/64":                                  "the address of the network 2001:db8::/64",
		"ip6=fe80::7/64":                                     "link-local",
		"ip6=::1/128":                                        "loopback",
		"ip6=ff02::7/64":                                     "multicast",
		"ip=192.0.2.1/24 gateway=192.0.2.1":                  "is the gateway's address",
		"ip6=2001:db8::1/64 gateway6=2001:db8::1":            "is the gateway's address",
		"ip=192.0.2.7/24 gateway=192.0.2.255":                "gateway: 192.0.2.255 is the broadcast address of 192.0.2.0/24; no router has it",
		"ip=192.0.2.7/24 gateway=192.0.2.0":                  "gateway: 192.0.2.0 is the address of the network",
		"ip=192.0.2.7/32 gateway=255.255.255.255":            "gateway: 255.255.255.255 is the broadcast address",
		"ip=192.0.2.7/24 gateway=255.255.255.255":            "gateway: 255.255.255.255 is the broadcast address",
		"gateway=192.0.2.1":                                  "a guest with DHCP learns it",
		"ip6=auto gateway6=fe80::1":                          "routers announce themselves",
		"ip6=2001:db8::7/64 gateway6=192.0.2.1":              "is not an IPv6 address",
		"ip=2001:db8::7/64 ip6=auto":                         "ip is an IPv6 address already",
		"ip=2001:db8::7/64 gateway=fe80::1 gateway6=fe80::2": "gateway is one of IPv6 already",
	} {
		if _, err := guestOf(strings.Fields(keys)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", keys, err, want)
		}
	}
	if _, err := guestOf("nameserver=192.0.2.1 2001:db8::1", "ip=192.0.2.7/24"); err != nil {
		t.Error(err)
	}
}

// TestGatewayOfDefaults: the default of the right family is taken, and none
// without a fixed address.
func TestGatewayOfDefaults(t *testing.T) {
	var d config.Guest
	for key, value := range map[string]string{"gateway": "192.0.2.1", "gateway6": "fe80::1"} {
		if err := d.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	for keys, want := range map[string]string{
		"ip=dhcp ip6=auto":                      "",
		"ip=192.0.2.7/24":                       "192.0.2.1",
		"ip=192.0.2.7/24 ip6=2001:db8::7/64":    "192.0.2.1 fe80::1",
		"ip=2001:db8::7/64":                     "fe80::1",
		"ip=2001:db8::7/64 gateway=2001:db8::1": "2001:db8::1",
	} {
		g, err := guestOf(strings.Fields(keys)...)
		if err != nil {
			t.Fatal(err)
		}
		g = g.With(d)
		if err := g.Check(); err != nil {
			t.Errorf("%s: %v", keys, err)
		}
		var got []string
		if n := g.Net(); n.Gateway.IsValid() {
			got = append(got, n.Gateway.String())
		}
		if n := g.Net(); n.Gateway6.IsValid() {
			got = append(got, n.Gateway6.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: gateways %v, want %s", keys, got, want)
		}
	}
}

func TestCheckTogether(t *testing.T) {
	var list []config.Guest
	for i, keys := range []string{"ip=192.0.2.7/24 ip6=2001:db8::7/64", "ip=192.0.2.7/16", "ip6=2001:db8:0::7/64", "ip=192.0.2.7/24 bridge=vmbr1", "ip=192.0.2.7/24 vlan=7", "ip=dhcp", "ip=dhcp"} {
		g, err := guestOf(strings.Fields(keys)...)
		if err != nil {
			t.Fatal(err)
		}
		g.VMID += i
		list = append(list, g)
	}
	want := "guest 8201: the address 192.0.2.7 is guest 8200's, too\nguest 8202: the address 2001:db8::7 is guest 8200's, too"
	if err := config.CheckTogether(list); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
