package doctor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// reportBy is how long a new guest may take to its first report: a boot is over
// within a minute, a slow pull reports meanwhile.
const reportBy = 10 * time.Minute

func (d doctor) guests(ctx context.Context) []checks.Finding {
	if found := d.noStore(); found != nil {
		return found
	}
	rows, broken, err := d.Rows(ctx)
	if err != nil {
		return checks.FromError(err, "felhom-agentd guest list")
	}
	var found []checks.Finding
	for _, name := range sortedNames(broken) {
		if !strings.HasPrefix(name, "reports") {
			continue // the check of the store says so
		}
		found = append(found, checks.Fail(fault.Invalid, "remove the file: the guest reports again at its next run", "%s: %v", name, broken[name]))
	}
	for _, row := range rows {
		if f, ok := d.guest(row); ok {
			found = append(found, f)
		}
	}
	return orFine(found, "%d are known, none of them is silent or reports a failure", len(rows))
}

// isElsewhere reports whether the guest is another node's. What this node lacks of
// it is not a fault, and the remedies would take its token.
func (d doctor) isElsewhere(vmid int) bool { return d.Elsewhere != nil && d.Elsewhere(vmid) }

// guest returns what is wrong with one guest.
func (d doctor) guest(r overview.Row) (checks.Finding, bool) {
	remove := fmt.Sprintf("felhom-agentd guest remove %d", r.Guest)
	switch {
	case d.isElsewhere(r.Guest):
		return checks.Finding{}, false
	case r.Unfinished:
		return checks.Warn(fmt.Sprintf("run the same felhom-agentd provision --vmid %d again, or %s", r.Guest, remove), "guest %d: its provisioning or removal was interrupted", r.Guest), true
	case r.Revoked:
		return checks.Finding{}, false
	case r.Ended != "":
		return checks.Fail(fault.NotReady, fmt.Sprintf("felhom-agentd guest rotate %d writes its mount again, with a new token", r.Guest), "guest %d: %s", r.Guest, r.Ended), true
	case r.State == overview.Gone:
		return checks.Warn(remove, "guest %d: the hypervisor has no such guest, and its token is valid", r.Guest), true
	case r.State == string(driver.Stopped):
		return checks.Finding{}, false
	case r.Controller == "" && d.Now().Sub(r.Added) > reportBy:
		return checks.Fail(fault.NotReady, fmt.Sprintf("felhom-agentd guest show %d; is the mount attached, and does a firewall keep the guest from the local API?", r.Guest),
			"guest %d has not reported since it was added %s ago", r.Guest, overview.Age(d.Now().Sub(r.Added))), true
	case r.Controller == overview.Failed:
		return checks.Warn(r.Hint, "guest %d reports a failure (%s): %s", r.Guest, termtext.Line(r.Class, 40), termtext.Line(r.Message, 200)), true
	}
	return checks.Finding{}, false
}

func (d doctor) firewall(ctx context.Context) []checks.Finding {
	if d.Firewall == nil {
		return []checks.Finding{checks.Warn("let only the guests reach the port: docs/operations.md has the rule for PVE",
			"felhom-agentd has no rules on this host: who reaches its address can connect, and pin and token alone protect it")}
	}
	return d.Firewall(ctx)
}

// origin reports whether a token is accepted from its own guest alone, and what was
// seen since the daemon started.
func (d doctor) origin(ctx context.Context) []checks.Finding {
	const enforce = "felhom-agentd guest list shows who is known; then set origin: enforce in the configuration"
	if d.Config.Origin == config.OriginOff {
		return []checks.Finding{checks.Warn("set origin: enforce in the configuration", "off: a stolen token works from everywhere on the network")}
	}
	h, err := d.Health(ctx)
	if err != nil {
		return []checks.Finding{checks.NotKnown("correct what the check of the daemon found", "%s; the daemon does not answer", d.Config.Origin)}
	}
	switch {
	case h.Origin == nil:
		return []checks.Finding{checks.Warn("journalctl -u felhom-agentd says why", "%s, and the daemon could not open the kernel's tables: nothing is looked at", d.Config.Origin)}
	case d.Config.Origin == config.OriginEnforce:
		return []checks.Finding{checks.Fine("enforced; %d requests were looked at", h.Origin.Checked)}
	}
	total := uint64(0)
	for _, n := range h.Origin.Mismatches {
		total += n
	}
	if total > 0 {
		return []checks.Finding{checks.Warn("journalctl -u felhom-agentd names guest and source; rotate the token of a guest that did not ask itself", "observed: %d of %d requests did not come from their guest", total, h.Origin.Checked)}
	}
	return []checks.Finding{checks.Warn(enforce, "observed: a stolen token is logged and accepted; all of %d requests came from their guests", h.Origin.Checked)}
}

// exposure says for each address who can reach it by the addresses alone.
func (d doctor) exposure(context.Context) []checks.Finding {
	addrs, err := d.addresses()
	if err != nil {
		return []checks.Finding{checks.NotKnown("correct what the check of the address found", "%v", err)}
	}
	var found []checks.Finding
	for _, a := range addrs {
		ip := a.Addr()
		switch {
		case ip.IsLoopback():
			found = append(found, checks.Fine("%s: this host alone", a))
		case ip.IsUnspecified():
			found = append(found, checks.Fail(fault.Invalid, "name the addresses of the bridge in listen", "%s: every network of this host", a))
		case ip.IsPrivate() || ip.IsLinkLocalUnicast() || isReserved(ip):
			found = append(found, checks.Fine("%s: guests and hosts of %s, and networks that are routed to it", a, networkOf(ip.String())))
		default:
			found = append(found, checks.Warn("listen on a private address, or let only the guests reach the port by a firewall", "%s is a public address: without a firewall the Internet reaches it", a))
		}
	}
	return found
}

// reserved are networks that no router of the Internet knows, beside those that
// [netip.Addr] has a method for: shared ones, and those of tests and documentation.
// The registry proxy's list has more: it is of what a registry must not lead to.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("3fff::/20"),
}

func isReserved(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// networkOf returns the network of one of this host's addresses.
func networkOf(address string) string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "its network"
	}
	for _, a := range addrs {
		if ip, network, err := net.ParseCIDR(a.String()); err == nil && strings.EqualFold(ip.String(), address) {
			return network.String()
		}
	}
	return "its network"
}
