package bootstrap

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
)

// maxURLs bounds how many published ports are named.
const maxURLs = 8

// ownAddress returns the guest's address towards the host; "" if there is none.
// Nothing is sent: the kernel is asked which address it would use.
func ownAddress(ctx context.Context, e contract.Endpoint) string {
	if _, err := netip.ParseAddr(e.Host()); err != nil {
		return ""
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", e.HostPort())
	if err != nil {
		return ""
	}
	defer func() { _ = c.Close() }() // nothing was sent
	at, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return ""
	}
	return at.Addr().Unmap().WithZone("").String()
}

// answersAt returns the URLs of the published TCP ports, after a colon; "" if
// they are not known. The host shows them.
func answersAt(ports []string, address string) string {
	own, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	text, count := "", 0
	for _, one := range ports {
		published, err := containerspec.Port(one)
		if err != nil {
			continue // it would have been refused earlier
		}
		for _, m := range published {
			port, err := strconv.Atoi(m.Binding.HostPort)
			at, ok := own, true
			if m.Binding.HostIP != "" {
				at, err = netip.ParseAddr(strings.Trim(m.Binding.HostIP, "[]"))
				ok = err == nil && !at.IsLoopback()
				if at.IsUnspecified() {
					at = own
				}
			}
			if err != nil || !ok || port == 0 || m.Port.Proto() != "tcp" || count == maxURLs {
				continue
			}
			scheme := "http"
			if port == 443 || port == 8443 {
				scheme = "https"
			}
			text += " " + scheme + "://" + net.JoinHostPort(at.String(), strconv.Itoa(port)) + "/"
			count++
		}
	}
	if text == "" {
		return ""
	}
	return ":" + text
}
