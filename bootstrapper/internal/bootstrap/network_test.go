package bootstrap

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/docker"
)

func eth0(dhcp bool, prefixes ...string) []nic {
	n := nic{name: "eth0", dhcp: dhcp}
	for _, p := range prefixes {
		n.prefixes = append(n.prefixes, netip.MustParsePrefix(p))
	}
	return []nic{n}
}

func TestUnaddressed(t *testing.T) {
	const v4, v6, name = "192.0.2.1:8443", "[2001:db8::1]:8443", "host.example:8443"
	for _, test := range []struct {
		name, endpoint string
		own            []nic
		want           string // "": it has an address
	}{
		{"address", v4, eth0(true, "192.0.2.9/24"), ""},
		{"private address", v4, eth0(true, "10.1.2.3/8", "fe80::1/64"), ""},
		{"nothing", v4, eth0(true), "no DHCP lease: eth0 has no address"},
		{"nothing, fixed", v4, eth0(false), "no address: eth0 has no address"},
		{"own address", v4, eth0(true, "169.254.7.8/16"), "no DHCP lease: eth0 has 169.254.7.8 alone"},
		{"link-local of IPv6", v6, eth0(false, "fe80::1/64"), "no address: eth0 has no address"},
		{"both link-local", name, eth0(true, "169.254.7.8/16", "fe80::1/64"), "no DHCP lease: eth0 has 169.254.7.8 alone"},
		{"IPv6 alone for an IPv4 host", v4, eth0(true, "2001:db8::9/64"), "no DHCP lease: eth0 has no address"},
		{"IPv4 alone for an IPv6 host", v6, eth0(true, "192.0.2.9/24"), "no address: eth0 has no address"},
		{"IPv6 alone for a name", name, eth0(true, "2001:db8::9/64"), ""},
		{"link-local host", "169.254.1.1:8443", eth0(true, "169.254.7.8/16"), ""},
		{"loopback host", "127.0.0.1:8443", eth0(true), ""},
		{"second interface", v4, append(eth0(true), nic{name: "wg0", prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}}), ""},
		{"no interface", v4, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			why, hint := unaddressed(test.own, test.endpoint)
			if (why == "") != (test.want == "") || !strings.HasPrefix(why, test.want) || (hint == "") != (why == "") {
				t.Errorf("%q, hint %q; want %q", why, hint, test.want)
			}
		})
	}
}

func TestDHCPNames(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "etc/network/interfaces.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"interfaces":     "auto lo\niface lo inet loopback\n\nauto eth0\n  iface eth0\tinet dhcp\niface eth1 inet static\n\taddress 192.0.2.1/24\niface eth3 inet6 dhcp\n# iface eth4 inet dhcp\n",
		"interfaces.d/a": "iface eth2 inet dhcp\n",
	} {
		if err := os.WriteFile(filepath.Join(root, "etc/network", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := dhcpNames(root)
	slices.Sort(got)
	if want := []string{"eth0", "eth2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := dhcpNames(t.TempDir()); got != nil {
		t.Errorf("%q of a guest without the file", got)
	}
}

// TestNoLeaseIsNamed: an address that the guest gave to itself is not a network,
// whatever the error of the connection is.
func TestNoLeaseIsNamed(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ETIMEDOUT} {
		for _, test := range []struct {
			name  string
			after time.Duration // until the lease comes
			want  Outcome
			says  string
		}{
			{"late", 12 * time.Second, Unchanged, "had no address for the first 12s"},
			{"never", time.Hour, Degraded, "no DHCP lease: eth0 has 169.254.7.8 alone"},
		} {
			t.Run(test.name+" "+errno.Error(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					began := time.Now()
					var notes []string
					s := channelStep{
						host: early{began, test.after, errno}, endpoint: "192.0.2.1:8443", networkWait: 30 * time.Second,
						nics: func() []nic {
							if time.Since(began) >= test.after {
								return eth0(true, "192.0.2.9/24")
							}
							return eth0(true, "169.254.7.8/16")
						},
					}
					out, err := s.run(t.Context(), func(text string) { notes = append(notes, text) })
					if err != nil || out.Outcome != test.want || !strings.Contains(out.Message, test.says) {
						t.Errorf("%+v, %v; want %s and %q", out, err, test.want, test.says)
					}
					if test.want == Degraded && !strings.Contains(out.Hint, "DHCP server") {
						t.Errorf("hint %q, want it to name the DHCP server", out.Hint)
					}
					if len(notes) != 2 || !strings.Contains(notes[1], "no DHCP lease") {
						t.Errorf("notes %q, want the lease named after some seconds", notes)
					}
				})
			})
		}
	}
}

// over is an engine with networks.
type over struct{ subnets []docker.Subnet }

func (over) Connect(context.Context) (docker.Engine, error) { return docker.Engine{API: "1.41"}, nil }

func (o over) Subnets(context.Context) ([]docker.Subnet, error) {
	return o.subnets, errors.New("the pools are not known")
}

func TestNetworksOfTheEngineOverTheGuests(t *testing.T) {
	net := func(name, prefix string) docker.Subnet {
		return docker.Subnet{Network: name, Prefix: netip.MustParsePrefix(prefix)}
	}
	for _, test := range []struct {
		name    string
		own     []nic
		subnets []docker.Subnet
		want    Outcome
		says    string // in message or note
	}{
		{"apart", eth0(true, "192.0.2.9/24"), []docker.Subnet{net("bridge", "172.17.0.0/16"), net("", "172.30.0.0/16")}, Unchanged, ""},
		{"the same", eth0(true, "10.213.2.9/24"), []docker.Subnet{net("bridge", "10.213.2.0/24")}, Degraded, "network bridge (10.213.2.0/24) covers this guest's own network 10.213.2.0/24 (eth0)"},
		{"a part", eth0(true, "10.213.2.9/16"), []docker.Subnet{net("bridge", "10.213.2.128/25")}, Degraded, "network bridge"},
		{"a larger one", eth0(true, "172.17.4.9/24"), []docker.Subnet{net("app_default", "172.17.0.0/16")}, Degraded, "network app_default"},
		{"of IPv6", eth0(true, "2001:db8::9/64"), []docker.Subnet{net("six", "2001:db8::/48")}, Degraded, "network six"},
		{"the host's address", eth0(true, "192.0.2.9/24"), []docker.Subnet{net("bridge", "198.51.100.0/24")}, Degraded, "the host's address 198.51.100.1"},
		{"a pool", eth0(true, "10.213.2.9/24"), []docker.Subnet{net("", "10.0.0.0/8")}, Unchanged, "warning: the engine's address pool 10.0.0.0/8 covers"},
		{"pool and network", eth0(true, "10.213.2.9/24"), []docker.Subnet{net("", "10.0.0.0/8"), net("bridge", "10.213.0.0/16")}, Degraded, "network bridge"},
		{
			"a bridge of the engine under another name",
			[]nic{{name: "lan0", bridge: true, prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.1/24")}}},
			[]docker.Subnet{net("lan", "10.1.0.0/24")},
			Unchanged, "",
		},
		{"link-local", eth0(true, "fe80::9/64"), []docker.Subnet{net("six", "fe80::/64")}, Unchanged, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var notes []string
			s := engineStep{engine: over{test.subnets}, limit: time.Minute, nics: func() []nic { return test.own }, endpoint: "198.51.100.1:8443"}
			out, err := s.run(t.Context(), func(text string) { notes = append(notes, text) })
			said := out.Message + strings.Join(notes, "")
			if err != nil || out.Outcome != test.want || !strings.Contains(said, test.says) || (out.Hint == "") != (test.want == Unchanged) {
				t.Errorf("%+v, %v, notes %q; want %s and %q", out, err, notes, test.want, test.says)
			}
			if test.says == "" && strings.Contains(said, "covers") {
				t.Errorf("it says %q", said)
			}
		})
	}
}
