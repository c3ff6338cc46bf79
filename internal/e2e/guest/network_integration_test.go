//go:build integration

package guest_test

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// TestNetworksOfGuests boots guests of a real image with what ifupdown finds
// hard: a gateway outside of the address's network, two stacks, IPv6 alone.
func TestNetworksOfGuests(t *testing.T) {
	s := theStack(t)
	vmids := testbed.VMIDs(t, 3)
	host := s.bed.Address
	four, other := s.address(t, 211).Addr().String(), s.address(t, 212).String()
	alone := driver.Net{
		Bridge: s.bed.Bridge, IP: pctconf.IP{Word: pctconf.Manual},
		IP6: pctconf.Fixed(netip.MustParsePrefix("fd00:db8::7/128")), Gateway6: netip.MustParseAddr("fd00:db8:1::1"),
	}
	for i, c := range []struct {
		name  string
		flags []string    // of provision
		net   *driver.Net // of a guest that provision refuses: the local API has an IPv4 address
		want  [][2]string // what ip -oneline shows of it, and a part of that
		not   string      // not in the IPv4 addresses
	}{
		{
			name: "gateway outside of the network", flags: []string{"--ip", four + "/32", "--gateway", host},
			want: [][2]string{{"-4 address show dev eth0", four + "/32"}, {"-4 route", "default via " + host + " dev eth0"}, {"-4 route", host + " dev eth0 scope link"}},
		},
		{
			name: "two stacks", flags: []string{"--ip", other, "--gateway", host, "--ip6", "fd00:db8::8/64", "--gateway6", "fe80::1", "--nameserver", "192.0.2.53"},
			want: [][2]string{
				{"-4 address show dev eth0", other},
				{"-6 address show dev eth0", "fd00:db8::8/64"},
				{"-4 route", "default via " + host + " dev eth0"},
				{"-6 route", "default via fe80::1 dev eth0"},
			},
		},
		{
			name: "IPv6 alone", net: &alone, not: "inet ",
			want: [][2]string{{"-6 address show dev eth0", "fd00:db8::7/128"}, {"-6 route", "fd00:db8:1::1 dev eth0"}, {"-6 route", "default via fd00:db8:1::1 dev eth0"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			vmid := vmids[i]
			s.removeAfter(t, vmid)
			if c.net != nil {
				// agentd knows nothing of a guest that is restored past it.
				t.Cleanup(func() { s.destroy(t, vmid) })
				if err := s.driver.Restore(t.Context(), vmid, driver.Spec{Archive: s.archive, Net: *c.net}, nil); err != nil {
					t.Fatal(err)
				}
			} else {
				s.agentd(t, append([]string{"provision", "--vmid", strconv.Itoa(vmid), "--hostname", fmt.Sprintf("felhom-net%d", i), "--golden", s.archive, "--no-start"}, c.flags...)...)
			}
			g := s.guest(vmid)
			s.boot(t, vmid)
			for _, want := range c.want {
				argv := append([]string{"ip", "-oneline"}, strings.Fields(want[0])...)
				poll(t, g, want[1], argv, func(out string) bool { return strings.Contains(out, want[1]) })
			}
			if state := strings.TrimSpace(ask(t, g, "systemctl", "show", "--property=ActiveState", "--value", "networking.service")); state != "active" {
				t.Errorf("networking.service is %s", state)
			}
			if out := ask(t, g, "ip", "-4", "-oneline", "address", "show", "dev", "eth0"); c.not != "" && strings.Contains(out, c.not) {
				t.Errorf("%q in %s", c.not, out)
			}
		})
	}
}

// destroy removes a guest that the driver alone has made.
func (s *stack) destroy(t *testing.T, vmid int) {
	t.Helper()
	if err := s.driver.Destroy(context.Background(), vmid); err != nil {
		t.Error(err)
	}
}
