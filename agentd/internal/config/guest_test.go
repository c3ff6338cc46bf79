package config_test

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

func TestParseGuests(t *testing.T) {
	got, err := config.ParseGuests("guests.yaml", []byte(`version: 1
guests:
  - {vmid: 8200, hostname: one, ip: 192.0.2.7/24, gateway: 192.0.2.1, swap: 0, onboot: false}
  - vmid: 8201
    golden: /srv/g.tar.zst
    image: registry.example/a:1
    ip: dhcp
    start: false
`))
	if err != nil {
		t.Fatal(err)
	}
	swap, no := 0, false
	want := []config.Guest{
		{Place: "guests.yaml:3", VMID: 8200, Hostname: "one", IP: pctconf.Fixed(netip.MustParsePrefix("192.0.2.7/24")), Gateway: netip.MustParseAddr("192.0.2.1"), Swap: &swap, OnBoot: &no},
		{Place: "guests.yaml:4", VMID: 8201, Golden: "/srv/g.tar.zst", Asked: config.Asked{Image: "registry.example/a:1"}, IP: pctconf.IP{Word: pctconf.DHCP}, Start: &no},
	}
	if diff := cmp.Diff(want, got, compareAddrPort); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

// The specification of the operator's page is one, with every key that it
// says it has.
func TestDocumentedSpecification(t *testing.T) {
	page, err := os.ReadFile("../../../docs/agentd.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) != 2 {
		t.Fatalf("docs/agentd.md has %d yaml blocks, want the configuration and the specification", len(blocks))
	}
	got, err := config.ParseGuests("docs/agentd.md", blocks[1][1])
	if err != nil {
		t.Fatal(err)
	}
	no := false
	want := []config.Guest{
		{
			Place: "docs/agentd.md:3", VMID: 8200, Hostname: "web", IP: pctconf.Fixed(netip.MustParsePrefix("192.0.2.7/24")), Gateway: netip.MustParseAddr("192.0.2.1"),
			IP6: pctconf.Fixed(netip.MustParsePrefix("2001:db8::7/64")), Gateway6: netip.MustParseAddr("fe80::1"), Nameserver: "192.0.2.53 2001:db8::53",
			Asked: config.Asked{
				Image: "registry.example/team/app:1.1", ReadyWait: 10 * time.Minute, EnvFile: "/etc/felhom/web.env", Repositories: []string{"docker.io/library/redis:7"},
				Container: &contract.Container{Environment: map[string]string{"MODE": "edge"}, Volumes: []string{"data:/data"}},
			}, Memory: 4096,
		},
		{Place: "docs/agentd.md:18", VMID: 8201, Hostname: "mail", Golden: "/srv/golden/vzdump-lxc-9100-2026_11_26-12_00_00.tar.zst", Start: &no},
	}
	if diff := cmp.Diff(want, got, compareAddrPort); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestParseGuestsFindings(t *testing.T) {
	cases := []struct{ name, input, want string }{
		{"empty", "", "1:1: error: guests: is missing\n1:1: error: version: is missing"},
		{"no guest", "version: 1\nguests: []\n", "2:9: error: guests: want a list of 1 to 1000 guests, got an empty list"},
		{
			"all at once", "version: 2\nguests:\n  - {vmid: 8200, hostnam: a}\n  - {hostname: a_b, ip: 192.0.2.7}\n  - {vmid: 8200, vlan: 5000}\n",
			`1:10: error: version: want a whole number from 1 to 1, got 2
3:18: error: guests[0].hostnam: unknown key; did you mean "hostname"?
4:5: error: guests[1].vmid: is missing
4:16: error: guests[1].hostname: "a_b" is not a DNS name: each part has 1 to 63 letters, digits and inner hyphens
4:25: error: guests[1].ip: want dhcp, manual, or an address with its network's length like 192.0.2.7/24, got "192.0.2.7"
5:12: error: guests[2].vmid: guest 8200 is given twice; the first is in line 3
5:24: error: guests[2].vlan: want a whole number from 1 to 4094, got 5000`,
		},
	}
	cases = append(cases, struct{ name, input, want string }{
		"repositories", "version: 1\nguests:\n  - vmid: 8200\n    repositories: [registry.example/a:1, postgres, 'registry.example/A', {a: b}]\n",
		`4:42: error: guests[0].repositories[1]: the registry is missing; write the full reference, as in registry.example/team/app:1.0, got "postgres"
4:52: error: guests[0].repositories[2]: the path has upper-case letters; registries know lower case only, got "registry.example/A"
4:74: error: guests[0].repositories[3]: want text, got keys with values`,
	})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.ParseGuests("f", []byte(c.input))
			want := "f:" + strings.ReplaceAll(c.want, "\n", "\nf:")
			if err == nil {
				t.Fatal("no finding")
			}
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestGuestSet(t *testing.T) {
	var g config.Guest
	for key, value := range map[string]string{
		"vmid": "8200", "golden": "local:backup/a.tar.zst", "rootfs": "8", "ip": "192.0.2.7/24", "swap": "0", "memory": "512", "onboot": "true",
	} {
		if err := g.Set(key, value); err != nil {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
	if g.VMID != 8200 || g.Rootfs != 8 || g.IP.Prefix.Bits() != 24 || g.Swap == nil || *g.Swap != 0 || g.Memory != 512 || g.OnBoot == nil || !*g.OnBoot {
		t.Errorf("got %+v", g)
	}
	for key, value := range map[string]string{"vmid": "8", "memory": "512M", "cores": "", "golden": "local:iso/a", "nonsense": "1"} {
		if err := g.Set(key, value); err == nil {
			t.Errorf("%s=%s was accepted", key, value)
		}
	}
}

func TestGuestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		g    config.Guest
		want string
	}{
		{"good", config.Guest{VMID: 8200, Golden: "/a"}, ""},
		{"nothing", config.Guest{}, "vmid: is missing"},
		{"gateway without address", config.Guest{VMID: 8200, Golden: "/a", Gateway: netip.MustParseAddr("192.0.2.1")}, "gateway: a guest with DHCP learns it; give ip as well"},
		{
			"gateway outside of the prefix",
			config.Guest{VMID: 8200, Golden: "/a", IP: pctconf.Fixed(netip.MustParsePrefix("192.0.2.7/32")), Gateway: netip.MustParseAddr("192.0.3.1")},
			"",
		},
		{
			"gateway of the link",
			config.Guest{VMID: 8200, Golden: "/a", IP: pctconf.Fixed(netip.MustParsePrefix("2001:db8::7/64")), Gateway: netip.MustParseAddr("fe80::1")},
			"",
		},
		{
			"gateway of another family",
			config.Guest{VMID: 8200, Golden: "/a", IP: pctconf.Fixed(netip.MustParsePrefix("192.0.2.7/24")), Gateway: netip.MustParseAddr("fe80::1")},
			"gateway: fe80::1 and 192.0.2.7, the address of ip, are not of one family",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := c.g.Check(); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
