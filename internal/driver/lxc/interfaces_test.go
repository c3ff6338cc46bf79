package lxc

import (
	"strings"
	"testing"
)

// TestGatewayOutsideOfThePrefix: ifupdown refuses such a default route unless
// the gateway has a route of its own.
func TestGatewayOutsideOfThePrefix(t *testing.T) {
	got := interfaces(true, "192.0.2.7/32", true, "192.0.3.1", false, false)
	want := "\taddress 192.0.2.7/32\n\tpost-up ip route add 192.0.3.1 dev eth0\n\tpost-up ip route add default via 192.0.3.1 dev eth0\n"
	if !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s", got)
	}
	if got := interfaces(true, "2001:db8::7/64", true, "fe80::1", true, true); !strings.HasSuffix(got, "\tgateway fe80::1\n") {
		t.Errorf("got\n%s", got)
	}
}
