package lxc

import (
	"net/netip"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// interfaces returns the guest's /etc/network/interfaces, as PVE writes it for
// Debian (pve-container src/PVE/LXC/Setup/Debian.pm).
func interfaces(n driver.Net) string {
	var b strings.Builder
	b.WriteString("auto lo\niface lo inet loopback\n\nauto " + n.Name + "\n")
	stanza(&b, n.Name, "inet", n.IP, n.Gateway)
	stanza(&b, n.Name, "inet6", n.IP6, n.Gateway6)
	return b.String()
}

func stanza(b *strings.Builder, name, family string, ip pctconf.IP, gateway netip.Addr) {
	line := func(words ...string) { b.WriteString(strings.Join(words, " ") + "\n") }
	if ip.IsZero() {
		return
	}
	if !ip.IsFixed() {
		line("iface", name, family, ip.Word)
		return
	}
	line("iface", name, family, "static")
	line("\taddress", ip.String())
	switch {
	case !gateway.IsValid():
	case ip.Prefix.Contains(gateway), gateway.Is6() && gateway.IsLinkLocalUnicast():
		line("\tgateway", gateway.String())
	default:
		// ifupdown refuses a gateway that it cannot reach.
		command := "ip"
		if gateway.Is6() {
			command = "ip -6"
		}
		route := []string{command + " route add " + gateway.String() + " dev " + name, command + " route add default via " + gateway.String() + " dev " + name}
		for _, r := range route {
			line("\tpost-up", r)
		}
	}
}
