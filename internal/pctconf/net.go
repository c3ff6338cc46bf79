package pctconf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The words in place of an address: from a DHCP server, from a router's
// advertisements (IPv6 only), or set by the guest itself.
const (
	DHCP   = "dhcp"
	Auto   = "auto"
	Manual = "manual"
)

// IP is how an interface gets its address of one family: a word, or a fixed
// address. The zero value means that there is no address of that family.
type IP struct {
	Word   string       // DHCP, Auto, Manual, or "" for a fixed address
	Prefix netip.Prefix // the fixed address, with the length of its network
}

// Fixed returns the fixed address p.
func Fixed(p netip.Prefix) IP { return IP{Prefix: p} }

// IsZero reports whether there is no address of that family.
func (a IP) IsZero() bool { return a == IP{} }

// IsFixed reports whether the address is fixed.
func (a IP) IsFixed() bool { return a.Prefix.IsValid() }

// String returns the text of ip and ip6; "" for the zero value.
func (a IP) String() string {
	if a.IsFixed() {
		return a.Prefix.String()
	}
	return a.Word
}

var (
	words4 = []string{DHCP, Manual}
	words6 = []string{Auto, DHCP, Manual}
)

// ParseIP4 reads the value of ip.
func ParseIP4(s string) (IP, error) { return parseIP(s, false, words4) }

// ParseIP6 reads the value of ip6.
func ParseIP6(s string) (IP, error) { return parseIP(s, true, words6) }

func parseIP(s string, v6 bool, words []string) (IP, error) {
	if slices.Contains(words, s) {
		return IP{Word: s}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is6() != v6 || p.Addr().Is4In6() {
		return IP{}, fmt.Errorf("%q: want address/bits, %s", s, strings.Join(words, ", "))
	}
	return Fixed(p), nil
}

func parseGateway(s string, v6 bool) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Is6() != v6 || a.Is4In6() || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q: want the address of a gateway", s)
	}
	return a, nil
}

// Net is one network interface of a guest: the value of a netN.
type Net struct {
	Name        string // in the guest
	Bridge      string
	MAC         string // upper case
	IP          IP
	IP6         IP
	Gateway     netip.Addr // zero: none
	Gateway6    netip.Addr // zero: none
	VLAN        int        // tag; 0: untagged
	MTU         int        // 0: the bridge's
	Firewall    bool       // of PVE
	LinkDown    bool
	HostManaged bool   // PVE 9.1: the host sets the addresses
	Rate        string // MB/s; "": no limit
	Trunks      string // VLANs that pass with their tags, with ; between them
}

// ParseNet reads the value of a netN. The error says which part is wrong, and
// what is valid.
func ParseNet(value string) (Net, error) {
	canonical, err := properties(netProperties)(strings.TrimSpace(value))
	if err != nil {
		return Net{}, err
	}
	p, err := ParseProperties(canonical, "")
	if err != nil {
		return Net{}, err
	}
	n := Net{
		Name: p["name"], Bridge: p["bridge"], MAC: strings.ToUpper(p["hwaddr"]),
		Firewall: p["firewall"] == "1", LinkDown: p["link_down"] == "1", HostManaged: p["host-managed"] == "1",
		Rate: p["rate"], Trunks: p["trunks"],
	}
	var all []error
	read := func(key string, set func(string) error) {
		if value, ok := p[key]; ok {
			if err := set(value); err != nil {
				all = append(all, fmt.Errorf("%s: %w", key, err))
			}
		}
	}
	read("ip", func(s string) (err error) { n.IP, err = ParseIP4(s); return err })
	read("ip6", func(s string) (err error) { n.IP6, err = ParseIP6(s); return err })
	read("gw", func(s string) (err error) { n.Gateway, err = parseGateway(s, false); return err })
	read("gw6", func(s string) (err error) { n.Gateway6, err = parseGateway(s, true); return err })
	read("tag", func(s string) (err error) { n.VLAN, err = strconv.Atoi(s); return err })
	read("mtu", func(s string) (err error) { n.MTU, err = strconv.Atoi(s); return err })
	if err := errors.Join(all...); err != nil {
		return Net{}, err
	}
	return n, nil
}

// Net returns the interface netN of the current configuration, and whether
// there is one.
func (c *Config) Net(number int) (Net, bool, error) {
	key := "net" + strconv.Itoa(number)
	value, ok := c.Get(key)
	if !ok {
		return Net{}, false, nil
	}
	n, err := ParseNet(value)
	if err != nil {
		return Net{}, true, fmt.Errorf("%s: %w", key, err)
	}
	return n, true, nil
}

// String returns the canonical value of a netN. It is what [Canonical] takes
// if n came from ParseNet or [Net.With].
func (n Net) String() string {
	var b strings.Builder
	b.WriteString("name=" + n.Name)
	add := func(key, value string) {
		if value != "" {
			b.WriteString("," + key + "=" + value)
		}
	}
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	bit := func(on bool) string {
		if on {
			return "1"
		}
		return ""
	}
	address := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	// In the order of the names, as PVE writes them.
	add("bridge", n.Bridge)
	add("firewall", bit(n.Firewall))
	add("gw", address(n.Gateway))
	add("gw6", address(n.Gateway6))
	add("host-managed", bit(n.HostManaged))
	add("hwaddr", n.MAC)
	add("ip", n.IP.String())
	add("ip6", n.IP6.String())
	add("link_down", bit(n.LinkDown))
	add("mtu", number(n.MTU))
	add("rate", n.Rate)
	add("tag", number(n.VLAN))
	add("trunks", n.Trunks)
	add("type", "veth")
	return b.String()
}

// With returns the interface of a new guest: n, the golden image's, overridden by
// the fields of o. The zero value of a field of o keeps that of n, with two
// exceptions: the MAC is left empty, and a fixed IPv4 address of n, which only
// one guest can have, becomes DHCP. If o has an address, the gateway is that of
// o, too, even if it is empty.
func (n Net) With(o Net) Net {
	n.Name, n.MAC = "eth0", ""
	if o.Bridge != "" {
		n.Bridge = o.Bridge
	}
	if o.VLAN != 0 {
		n.VLAN = o.VLAN
	}
	if o.MTU != 0 {
		n.MTU = o.MTU
	}
	n.Firewall = n.Firewall || o.Firewall
	switch {
	case !o.IP.IsZero():
		n.IP, n.Gateway = o.IP, o.Gateway
	case n.IP.IsFixed() || n.IP.IsZero() && n.IP6.IsZero():
		n.IP, n.Gateway = IP{Word: DHCP}, netip.Addr{}
	}
	if !o.IP6.IsZero() {
		n.IP6, n.Gateway6 = o.IP6, o.Gateway6
	}
	return n
}
