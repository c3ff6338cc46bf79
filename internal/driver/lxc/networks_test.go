package lxc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// TestWarningOfInotify: the limit counts for all guests of one id range, and
// 128, Debian's, is too little for the thirteenth.
func TestWarningOfInotify(t *testing.T) {
	dir := t.TempDir()
	limit := filepath.Join(dir, "max_user_instances")
	write(t, limit, "128\n")
	for i := range 11 {
		write(t, filepath.Join(dir, "guests", fmt.Sprint(8200+i), confFile), archived)
	}
	warnings := func(o Options) string {
		t.Helper()
		o.Path, o.InotifyFile = filepath.Join(dir, "guests"), limit
		got, err := New(o).Warnings(t.Context(), driver.Spec{})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(got, "\n")
	}
	if got := warnings(Options{}); got != "" {
		t.Errorf("the twelfth guest: %s", got)
	}
	write(t, filepath.Join(dir, "guests/8299", confFile), archived)
	got := warnings(Options{})
	for _, want := range []string{"fs.inotify.max_user_instances is 128", "13 guests need 130", "sysctl -w fs.inotify.max_user_instances=1024"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if got := warnings(Options{PerGuest: true}); got != "" {
		t.Errorf("with an id range for each guest: %s", got)
	}
	write(t, limit, "9\n")
	if got := warnings(Options{PerGuest: true}); !strings.Contains(got, "1 guests need 10") {
		t.Errorf("less than one guest needs: %q", got)
	}
	if err := os.Remove(limit); err != nil {
		t.Fatal(err)
	}
	if got := warnings(Options{}); got != "" {
		t.Errorf("a kernel without the limit: %s", got)
	}
}

// TestNetOfTheArchiveStays: what the golden image's net0 says comes along.
func TestNetOfTheArchiveStays(t *testing.T) {
	from := strings.Replace(archived, "bridge=vmbr0,ip=dhcp", "bridge=vmbr0,firewall=1,gw6=fe80::1,hwaddr=BC:24:11:00:00:01,ip=dhcp,ip6=auto,mtu=1400,tag=7", 1)
	c, err := applySpec(parse(t, from), driver.Spec{Net: driver.Net{Bridge: "br0"}, Nameserver: "192.0.2.1 2001:db8::1"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := netOf(c)
	want := driver.Net{
		Name: "eth0", Bridge: "br0", MAC: got.MAC, IP: pctconf.IP{Word: pctconf.DHCP}, IP6: pctconf.IP{Word: pctconf.Auto},
		Gateway6: got.Gateway6, VLAN: 7, MTU: 1400, Firewall: true,
	}
	if got != want || err != nil || got.Gateway6.String() != "fe80::1" || got.MAC == "BC:24:11:00:00:01" {
		t.Errorf("want %s\ngot  %s, %v", want, got, err)
	}
	if servers, _ := c.Get("nameserver"); servers != "192.0.2.1 2001:db8::1" {
		t.Errorf("nameserver %q", servers)
	}
	text, err := New(Options{Path: "/srv/guests", SysDir: t.TempDir()}).lxcConfig(8200, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"lxc.net.0.mtu = 1400\n", "lxc.net.0.veth.vlan.id = 7\n", "lxc.net.0.link = br0\n", "lxc.net.0.veth.pair = veth8200i0\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
}

// TestCheckVLAN: liblxc starts no guest in a VLAN of a bridge without them.
func TestCheckVLAN(t *testing.T) {
	sys := t.TempDir()
	filtering := filepath.Join(sys, "class/net/br0/bridge/vlan_filtering")
	write(t, filtering, "0\n")
	d := New(Options{Path: "/srv/guests", SysDir: sys})
	if err := d.checkVLAN(driver.Net{Bridge: "br0", VLAN: 7}); !errors.Is(err, driver.ErrRefused) || !strings.Contains(err.Error(), "does not know VLANs") {
		t.Errorf("error %v", err)
	}
	if err := d.checkVLAN(driver.Net{Bridge: "br0"}); err != nil {
		t.Error(err)
	}
	write(t, filtering, "1\n")
	if err := d.checkVLAN(driver.Net{Bridge: "br0", VLAN: 7}); err != nil {
		t.Error(err)
	}
}

// TestNetworks: directories that are not guests, and guests whose file is
// damaged, hide no other guest.
func TestNetworks(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"8200", ".8201.partial", "lost+found"} {
		write(t, filepath.Join(dir, name, confFile), archived)
	}
	write(t, filepath.Join(dir, "8202", confFile), strings.Replace(archived, "ip=dhcp", "ip=nonsense", 1))
	got, err := New(Options{Path: dir}).Networks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]driver.Net{8200: {Name: "eth0", Bridge: "vmbr0", IP: pctconf.IP{Word: pctconf.DHCP}}}
	if d := cmp.Diff(want[8200].String(), got[8200].String()); d != "" || len(got) != 1 {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, err := New(Options{Path: dir + "/none"}).Networks(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("without a directory: %v, %v", got, err)
	}
}
