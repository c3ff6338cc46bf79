package firewall_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/firewall"
	"github.com/felhom/felhom-golden/internal/driver"
)

// FuzzPVE: what is to be added to PVE's files does not depend on what they have, and
// is read as the rule that it is.
func FuzzPVE(f *testing.F) {
	for _, s := range []string{
		"", "[OPTIONS]\n\nenable: 1\npolicy_in: DROP\n\n[ALIASES]\n\nlan 192.0.2.0/24 # the bridge\n\n[IPSET management]\n\n192.0.2.5\n\n[RULES]\n\nGROUP web\nIN ACCEPT -i vmbr0 -p tcp -dport 8443 -log nolog\n|IN SSH(ACCEPT) -i vmbr0\n\n[group web]\n\nIN HTTP(ACCEPT)\n",
		"[options]\nENABLE: 00\n[OPTIONS]\nenable: 2\n", "[RULES]\nIN ACCEPT -dport\n", "[RULES\nIN ACCEPT --dport 8443", "[OPTIONS]\r\nenable: 99999999999999999999\r\n", "\x00[RULES]\n# IN ACCEPT -dport 8443\n",
	} {
		f.Add(s)
	}
	dir := f.TempDir()
	cluster, host := filepath.Join(dir, "firewall/cluster.fw"), filepath.Join(dir, "nodes/pve/host.fw")
	for _, file := range []string{cluster, host} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			f.Fatal(err)
		}
	}
	var guest firewall.Guest
	guest.VMID, guest.Interfaces = 8200, []driver.Interface{nic("BC:24:11:00:00:0A", "192.0.2.10/24", "", "veth8200i0")}
	networks := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}
	f.Fuzz(func(t *testing.T, text string) {
		p := plan(t, addresses("192.0.2.1:8443"), guest)
		look := func(clusterText, hostText string) firewall.PVE {
			for file, content := range map[string]string{cluster: clusterText, host: hostText} {
				if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := firewall.LookAtPVE(dir, "pve", "vmbr0", p, networks)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		empty, got := look("", ""), look(text, text)
		if got.Cluster != empty.Cluster || got.Host != empty.Host || empty.IsOn || empty.HasRule {
			t.Errorf("%q: %+v, and without it %+v", text, got, empty)
		}
		// A file's last line has no end if it was written by hand.
		with := look(text+"\n"+empty.Cluster, text+"\n"+empty.Host)
		if !with.HasRule || with.IsOn != got.IsOn {
			t.Errorf("%q with the rule to add: %+v, and without it %+v", text, with, got)
		}
		if got.HasRule && !strings.Contains(text, "8443") {
			t.Errorf("%q has a rule", text)
		}
	})
}
