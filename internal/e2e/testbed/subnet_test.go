package testbed

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func prefixes(t *testing.T, texts ...string) []netip.Prefix {
	t.Helper()
	var ps []netip.Prefix
	for _, s := range texts {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

func TestFreeSubnet(t *testing.T) {
	tests := []struct {
		name string
		used []string
		want string
	}{
		{"nothing used", nil, "10.213.0.0/24"},
		{"elsewhere", []string{"192.168.0.0/24", "fd00::/64"}, "10.213.0.0/24"},
		{"the first one", []string{"10.213.0.0/24"}, "10.213.1.0/24"},
		{"a part of the first one", []string{"10.213.0.128/25"}, "10.213.1.0/24"},
		{"one address of it", []string{"10.213.0.7/32"}, "10.213.1.0/24"},
		{"a larger one around it", []string{"10.213.0.0/17"}, "10.213.128.0/24"},
		{"gaps", []string{"10.213.0.0/24", "10.213.2.0/24"}, "10.213.1.0/24"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := freeSubnet(prefixes(t, tt.used...))
			if err != nil || got.String() != tt.want {
				t.Errorf("%v, error %v; want %s", got, err, tt.want)
			}
		})
	}
	if _, err := freeSubnet(prefixes(t, "10.0.0.0/8")); !errors.Is(err, errNoSubnet) {
		t.Errorf("whole pool used: error %v, want %v", err, errNoSubnet)
	}
}

func TestParseRoutes(t *testing.T) {
	const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
br0	0000D50A	00000000	0001	0	0	0	0000FFFF	0	0	0
`
	got, err := parseRoutes(table)
	if err != nil {
		t.Fatal(err)
	}
	want := prefixes(t, "192.0.2.0/24", "10.213.0.0/16")
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"heading\neth0 zz 0 0 0 0 0 zz", "heading\neth0 00000000"} {
		if got, err := parseRoutes(bad); err == nil {
			t.Errorf("%q: %v and no error", bad, got)
		}
	}
}
