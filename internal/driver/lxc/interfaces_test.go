package lxc

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// TestInterfaces holds what a guest is given, for each way to an address. A
// gateway that is not in the address's network needs a route of its own:
// ifupdown refuses it otherwise.
func TestInterfaces(t *testing.T) {
	const head = "auto lo\niface lo inet loopback\n\nauto eth0\n"
	for _, c := range []struct{ net, want string }{
		{"ip=dhcp", "iface eth0 inet dhcp\n"},
		{"ip=manual", "iface eth0 inet manual\n"},
		{"ip=manual,ip6=auto", "iface eth0 inet manual\niface eth0 inet6 auto\n"},
		{"ip6=dhcp", "iface eth0 inet6 dhcp\n"},
		{"ip=192.0.2.7/24", "iface eth0 inet static\n\taddress 192.0.2.7/24\n"},
		{"ip=192.0.2.7/24,gw=192.0.2.1", "iface eth0 inet static\n\taddress 192.0.2.7/24\n\tgateway 192.0.2.1\n"},
		{
			"ip=192.0.2.7/32,gw=192.0.3.1",
			"iface eth0 inet static\n\taddress 192.0.2.7/32\n\tpost-up ip route add 192.0.3.1 dev eth0\n\tpost-up ip route add default via 192.0.3.1 dev eth0\n",
		},
		{
			"ip=dhcp,ip6=2001:db8::7/64,gw6=fe80::1",
			"iface eth0 inet dhcp\niface eth0 inet6 static\n\taddress 2001:db8::7/64\n\tgateway fe80::1\n",
		},
		{
			"ip=192.0.2.7/24,gw=192.0.2.1,ip6=2001:db8::7/128,gw6=2001:db8:1::1",
			"iface eth0 inet static\n\taddress 192.0.2.7/24\n\tgateway 192.0.2.1\niface eth0 inet6 static\n\taddress 2001:db8::7/128\n" +
				"\tpost-up ip -6 route add 2001:db8:1::1 dev eth0\n\tpost-up ip -6 route add default via 2001:db8:1::1 dev eth0\n",
		},
	} {
		n, err := pctconf.ParseNet("name=eth0,bridge=br0," + c.net)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(head+c.want, interfaces(n)); d != "" {
			t.Errorf("%s: want -, got +:\n%s", c.net, d)
		}
	}
}
