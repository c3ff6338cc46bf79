package firewall_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/firewall"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

func nic(mac, ip, ip6 string, ports ...string) driver.Interface {
	n := driver.Interface{Net: pctconf.Net{Name: "eth0", Bridge: "vmbr0", MAC: mac}, Ports: ports}
	n.IP.Word, n.IP6.Word = pctconf.DHCP, pctconf.Auto
	if ip != "" {
		n.IP = pctconf.Fixed(netip.MustParsePrefix(ip))
	}
	if ip6 != "" {
		n.IP6 = pctconf.Fixed(netip.MustParsePrefix(ip6))
	}
	return n
}

func addresses(all ...string) (out []netip.AddrPort) {
	for _, a := range all {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

func plan(t testing.TB, listen []netip.AddrPort, guests ...firewall.Guest) firewall.Plan {
	t.Helper()
	p, err := firewall.NewPlan(listen, guests)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestText(t *testing.T) {
	p := plan(
		t, addresses("[2001:db8::1]:8443", "192.0.2.1:8443", "[::ffff:192.0.2.1]:8443"),
		firewall.Guest{VMID: 8201, Interfaces: []driver.Interface{nic("BC:24:11:00:00:0B", "", "", "veth8201i0", "fwpr8201p0")}},
		firewall.Guest{VMID: 8200, Interfaces: []driver.Interface{nic("BC:24:11:00:00:0A", "192.0.2.10/24", "2001:db8::10/64", "veth8200i0")}},
		firewall.Guest{VMID: 8202, Interfaces: []driver.Interface{nic("", "", "", "veth8202i0"), nic("BC:24:11:00:00:0C", "", "", "", "a-name-of-16-byte")}},
	)
	const want = `table bridge felhom_agentd {
	set guests4 {
		type ifname . ether_addr . ipv4_addr
		flags interval
		elements = {
			"fwpr8201p0" . bc:24:11:00:00:0b . 0.0.0.0/0, # guest 8201
			"veth8200i0" . bc:24:11:00:00:0a . 192.0.2.10, # guest 8200
			"veth8201i0" . bc:24:11:00:00:0b . 0.0.0.0/0, # guest 8201
		}
	}
	set guests6 {
		type ifname . ether_addr . ipv6_addr
		flags interval
		elements = {
			"fwpr8201p0" . bc:24:11:00:00:0b . ::/0, # guest 8201
			"veth8200i0" . bc:24:11:00:00:0a . 2001:db8::10, # guest 8200
			"veth8201i0" . bc:24:11:00:00:0b . ::/0, # guest 8201
		}
	}
	chain input {
		type filter hook input priority filter; policy accept;
		meta protocol ip ip daddr 192.0.2.1 tcp dport 8443 iifname . ether saddr . ip saddr != @guests4 counter drop comment "MARK"
		meta protocol ip6 ip6 daddr 2001:db8::1 tcp dport 8443 iifname . ether saddr . ip6 saddr != @guests6 counter drop comment "MARK"
	}
}
`
	got := p.Text()
	from := strings.Index(got, "felhom-agentd ")
	if d := cmp.Diff(want, strings.ReplaceAll(got, got[from:from+len("felhom-agentd ")+16], "MARK")); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
	if len(p.Skipped) != 3 || !slices.ContainsFunc(p.Skipped, func(s string) bool { return strings.Contains(s, "guest 8202") && strings.Contains(s, "no MAC") }) {
		t.Errorf("skipped: %q", p.Skipped)
	}
}

func TestPlansThatProtectNothingAreRefused(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:8443", "[::]:8443", "192.0.2.1:0", "[fe80::1%vmbr0]:8443"} {
		if p, err := firewall.NewPlan(addresses(listen), nil); err == nil {
			t.Errorf("%s is accepted: %+v", listen, p)
		}
	}
}
