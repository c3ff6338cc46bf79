package config

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// parseIP reads the value of ip: a word or an address of either family.
func parseIP(s string) (pctconf.IP, error) {
	if ip, err := pctconf.ParseIP4(s); err == nil {
		return ip, nil
	}
	// An IPv6 address in ip means a guest without IPv4.
	if ip, err := pctconf.ParseIP6(s); err == nil && ip.IsFixed() {
		return ip, nil
	}
	if s == pctconf.Auto {
		return pctconf.IP{}, errors.New("auto is a way to an IPv6 address: give it as ip6")
	}
	return pctconf.IP{}, fmt.Errorf("want dhcp, manual, or an address with its network's length like 192.0.2.7/24, got %q", s)
}

func parseIP6(s string) (pctconf.IP, error) {
	ip, err := pctconf.ParseIP6(s)
	if err != nil {
		return ip, fmt.Errorf("want auto, dhcp, manual, or an address with its network's length like 2001:db8::7/64, got %q", s)
	}
	return ip, nil
}

func parseGateway(into *netip.Addr, example string) func(string) error {
	return func(s string) error {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
			return fmt.Errorf("want an address like %s, got %q", example, s)
		}
		*into = a
		return nil
	}
}

// checkAddresses finds what is wrong with the addresses themselves.
func (g Guest) checkAddresses() []error {
	var all []error
	add := func(key, format string, args ...any) {
		all = append(all, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	switch {
	case g.Gateway.IsValid() && !g.IP.IsFixed():
		add("gateway", "a guest with DHCP learns it; give ip as well")
	case g.Gateway.IsValid() && g.Gateway.Is4() != g.IP.Prefix.Addr().Is4():
		add("gateway", "%s and %s, the address of ip, are not of one family", g.Gateway, g.IP.Prefix.Addr())
	}
	is6 := g.IP.IsFixed() && g.IP.Prefix.Addr().Is6()
	switch {
	case is6 && !g.IP6.IsZero():
		add("ip6", "ip is an IPv6 address already; give that as ip6, and the IPv4 address, dhcp or manual as ip")
	case is6 && g.Gateway.IsValid() && g.Gateway6.IsValid():
		add("gateway6", "gateway is one of IPv6 already")
	case g.Gateway6.IsValid() && !g.IP6.IsFixed() && !is6:
		add("gateway6", "routers announce themselves to a guest without a fixed IPv6 address; give an address as ip6 as well")
	case g.Gateway6.IsValid() && !g.Gateway6.Is6():
		add("gateway6", "%s is not an IPv6 address", g.Gateway6)
	}
	n := g.net()
	for _, f := range []struct {
		key, gatewayKey string
		ip              pctconf.IP
		gateway         netip.Addr
	}{{"ip", "gateway", n.IP, n.Gateway}, {"ip6", "gateway6", n.IP6, n.Gateway6}} {
		if !f.ip.IsFixed() {
			continue
		}
		if why := unusable(f.ip.Prefix); why != "" {
			add(f.key, "%s is %s; no guest can have it", f.ip, why)
		}
		if why := noRouter(f.gateway, f.ip.Prefix); why != "" {
			add(f.gatewayKey, "%s is %s; no router has it", f.gateway, why)
		}
		if f.gateway == f.ip.Prefix.Addr() {
			add(f.key, "%s is the gateway's address; a guest needs its own", f.gateway)
		}
	}
	return all
}

// unusable returns why no guest can have the address of p; "" if one can.
func unusable(p netip.Prefix) string {
	a := p.Addr()
	switch {
	case a.IsUnspecified():
		return "no address"
	case a.IsLoopback():
		return "a loopback address"
	case a.IsMulticast():
		return "a multicast address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the broadcast address"
	case p.Bits() == 0:
		return "in a network of length 0, which is the whole Internet"
	case p.Bits() >= a.BitLen()-1:
		return "" // a link of two ends, or of one
	case a == p.Masked().Addr():
		return "the address of the network " + p.Masked().String()
	case a.Is4() && a == lastOf(p):
		return "the broadcast address of " + p.Masked().String()
	}
	return ""
}

// noRouter returns why no router has the IPv4 address of a gateway of p; "" if one can.
// A router of IPv6 has any address: that of the network is the one of all its routers
// (RFC 4291, 2.6.1).
func noRouter(gateway netip.Addr, p netip.Prefix) string {
	switch {
	case !gateway.Is4(), gateway.IsLinkLocalUnicast():
		return ""
	case !p.Contains(gateway): // the length of its network is not known
		return unusable(netip.PrefixFrom(gateway, gateway.BitLen()))
	}
	return unusable(netip.PrefixFrom(gateway, p.Bits()))
}

// lastOf returns the last address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// net returns eth0 as it is asked for.
func (g Guest) net() pctconf.Net {
	n := pctconf.Net{Bridge: g.Bridge, VLAN: g.VLAN, IP: g.IP, IP6: g.IP6, Gateway: g.Gateway, Gateway6: g.Gateway6}
	if g.IP.IsFixed() && g.IP.Prefix.Addr().Is6() {
		n.IP, n.IP6, n.Gateway = pctconf.IP{Word: pctconf.Manual}, g.IP, netip.Addr{}
		if g.Gateway.IsValid() {
			n.Gateway6 = g.Gateway
		}
	}
	return n
}

// Net returns eth0 as it is asked for; Check must have accepted g. Zero values
// stay as the golden image has them.
func (g Guest) Net() pctconf.Net { return g.net() }

// CheckTogether finds guests that cannot exist together: two with the same
// address in one network.
func CheckTogether(list []Guest) error {
	type place struct {
		bridge string
		vlan   int
		addr   netip.Addr
	}
	first := map[place]int{}
	var all []error
	for _, g := range list {
		n := g.net()
		for _, ip := range []pctconf.IP{n.IP, n.IP6} {
			if !ip.IsFixed() {
				continue
			}
			at := place{n.Bridge, n.VLAN, ip.Prefix.Addr()}
			if other, taken := first[at]; taken && other != g.VMID {
				all = append(all, fmt.Errorf("%s: the address %s is guest %d's, too", g.About(), at.addr, other))
				continue
			}
			first[at] = g.VMID
		}
	}
	return errors.Join(all...)
}
