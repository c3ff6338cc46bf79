package bootstrap

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/regular"
)

// nic is a network interface of the guest itself.
type nic struct {
	name     string
	prefixes []netip.Prefix
	bridge   bool // possibly one that the engine made under another name
	dhcp     bool // its settings ask a DHCP server for an IPv4 address
}

// engineNIC matches what engines call their bridges, and the ends of containers.
var engineNIC = regexp.MustCompile(`^(docker0|docker_gwbridge|br-[0-9a-f]{12}|veth.*)$`)

// nics returns the guest's own interfaces: not the loopback, nor the engine's. A guest whose interfaces cannot be read has none.
func nics(root string) []nic {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	dhcp := dhcpNames(root)
	var own []nic
	for _, i := range all {
		_, err := os.Stat(filepath.Join("/sys/class/net", i.Name, "bridge"))
		if i.Flags&net.FlagLoopback != 0 || engineNIC.MatchString(i.Name) {
			continue
		}
		n := nic{name: i.Name, bridge: err == nil, dhcp: slices.Contains(dhcp, i.Name)}
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				n.prefixes = append(n.prefixes, netip.PrefixFrom(p.Addr().Unmap(), p.Bits()))
			}
		}
		own = append(own, n)
	}
	return own
}

// maxInterfaces bounds a file of interfaces(5).
const maxInterfaces = 64 << 10

// dhcpNames returns the interfaces that are configured by DHCP in
// interfaces(5).
func dhcpNames(root string) []string {
	files, _ := filepath.Glob(filepath.Join(root, "etc/network/interfaces.d/*")) // the pattern is well formed
	var names []string
	for _, file := range append(files[:min(len(files), 100)], filepath.Join(root, "etc/network/interfaces")) {
		data, err := regular.Read(file, maxInterfaces)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) == 4 && f[0] == "iface" && f[2] == "inet" && f[3] == "dhcp" {
				names = append(names, f[1])
			}
		}
	}
	return names
}

// unaddressed returns why no interface can reach the host at endpoint, HOST:PORT; "" if
// one has an address for it. A link-local address (169.254.0.0/16, fe80::/10) does not
// count: an interface assigns it to itself if no server assigned one.
func unaddressed(own []nic, endpoint string) (why, hint string) {
	host, _, _ := net.SplitHostPort(endpoint) // a name, an address, or not known
	to, err := netip.ParseAddr(host)
	isAddress := err == nil
	if isAddress && (to.IsLoopback() || to.IsLinkLocalUnicast()) || len(own) == 0 {
		return "", ""
	}
	var without []string
	dhcp := false
	for _, n := range own {
		text := n.name + " has no address"
		for _, p := range n.prefixes {
			a := p.Addr()
			switch {
			case a.IsLinkLocalUnicast():
				if a.Is4() {
					text = fmt.Sprintf("%s has %s alone, which it gave to itself", n.name, a)
				}
			case a.IsGlobalUnicast() && (!isAddress || a.Is4() == to.Unmap().Is4()):
				return "", ""
			}
		}
		without = append(without, text)
		dhcp = dhcp || n.dhcp && (!isAddress || to.Unmap().Is4())
	}
	why = strings.Join(without[:min(len(without), 4)], ", ")
	if dhcp {
		return "no DHCP lease: " + why, "check that a DHCP server answers on the bridge of this guest and has addresses left, or give the guest a fixed address on the host; the guest keeps asking"
	}
	return "no address: " + why, "check the guest's network on the host (net0: bridge, ip, gw), and in the guest: ip address; systemctl status networking.service"
}

// overlap returns which of the engine's subnets covers the guest's own network,
// or the host at endpoint. isFinal is false if only a network that the engine
// has not created yet could do so.
func overlap(own []nic, endpoint string, subnets []docker.Subnet) (what string, isFinal bool) {
	host, _, _ := net.SplitHostPort(endpoint)
	to, err := netip.ParseAddr(host)
	isAddress := err == nil && !to.IsLoopback()
	var pool string
	for _, s := range subnets {
		with := ""
		for _, n := range own {
			for _, p := range n.prefixes {
				if !n.bridge && p.Addr().IsGlobalUnicast() && p.Overlaps(s.Prefix) {
					with = fmt.Sprintf("this guest's own network %s (%s)", p.Masked(), n.name)
				}
			}
		}
		if with == "" && isAddress && s.Prefix.Contains(to.Unmap()) {
			with = fmt.Sprintf("the host's address %s", to)
		}
		switch {
		case with == "":
		case s.Network != "":
			return fmt.Sprintf("the engine's network %s (%s) covers %s", s.Network, s.Prefix, with), true
		case pool == "":
			pool = fmt.Sprintf("the engine's address pool %s covers %s", s.Prefix, with)
		}
	}
	return pool, false
}
