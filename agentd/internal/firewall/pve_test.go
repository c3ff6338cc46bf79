package firewall_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/firewall"
	"github.com/felhom/felhom-golden/internal/driver"
)

func firewallOfPVE(t *testing.T) {
	p := plan(
		t, addresses("192.0.2.1:8443"),
		firewall.Guest{VMID: 8200, Interfaces: []driver.Interface{nic("BC:24:11:00:00:0A", "192.0.2.10/24", "2001:db8::10/64", "veth8200i0")}},
		firewall.Guest{VMID: 8201, Interfaces: []driver.Interface{nic("BC:24:11:00:00:0B", "", "", "veth8201i0", "fwpr8201p0")}},
	)
	const wantCluster = "[IPSET felhom-guests]\n192.0.2.0/24\n192.0.2.10\n2001:db8::10\n"
	const wantHost = "[RULES]\nIN ACCEPT -i vmbr0 -source +dc/felhom-guests -p tcp -dport 8443 -log nolog\n"
	for _, c := range []struct {
		name, cluster, host string
		isOn, hasRule       bool
	}{
		{name: "no files"},
		{name: "off by default", cluster: "[OPTIONS]\npolicy_in: DROP\n"},
		{name: "on", cluster: "[OPTIONS]\n\nenable: 1\n", isOn: true},
		{name: "on in other letters", cluster: "[options]\nENABLE: 1  # yes\r\n", isOn: true},
		{name: "on for a minute", cluster: "[OPTIONS]\nenable: 1795000000\n", isOn: true},
		{name: "off", cluster: "[OPTIONS]\nenable: 00\n"},
		{name: "of another section", cluster: "[RULES]\nenable: 1\n"},
		{name: "a comment", cluster: "[OPTIONS]\n#enable: 1\n"},
		{name: "off on this host", cluster: "[OPTIONS]\nenable: 1\n", host: "[OPTIONS]\nenable: 0\n"},
		{name: "on, and accepts what no rule drops", cluster: "[OPTIONS]\nenable: 1\npolicy_in: DROP\nPolicy_In: accept # for now\n"},
		{name: "on, and rejects", cluster: "[OPTIONS]\npolicy_in: ACCEPT\nenable: 1\npolicy_in: REJECT\n", isOn: true},
		{name: "a policy of another section", cluster: "[OPTIONS]\nenable: 1\n[RULES]\npolicy_in: ACCEPT\n", isOn: true},
		{name: "a policy for what leaves", cluster: "[OPTIONS]\nenable: 1\npolicy_out: ACCEPT\n", isOn: true},
		{name: "with its rule", cluster: "[OPTIONS]\nenable: 1\n", host: wantHost, isOn: true, hasRule: true},
		{name: "with a rule of the cluster", cluster: "[OPTIONS]\nenable: 1\n[RULES]\nIN ACCEPT --dport 8443 -p tcp\n", isOn: true, hasRule: true},
		{name: "disabled rule", cluster: "[OPTIONS]\nenable: 1\n", host: "[RULES]\n|IN ACCEPT -p tcp -dport 8443\n", isOn: true},
		{name: "rule for another port", cluster: "[OPTIONS]\nenable: 1\n", host: "[RULES]\nIN ACCEPT -p tcp -dport 84430\nOUT ACCEPT -p tcp -dport 8443\nIN DROP -p tcp -dport 8443\n", isOn: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"firewall/cluster.fw": c.cluster, "nodes/pve/host.fw": c.host} {
				if text == "" {
					continue
				}
				file := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := firewall.LookAtPVE(dir, "pve", "vmbr0", p, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")})
			if err != nil || got.IsOn != c.isOn || got.HasRule != c.hasRule {
				t.Errorf("on %v, rule %v, %v, want %v and %v", got.IsOn, got.HasRule, err, c.isOn, c.hasRule)
			}
			if got.Cluster != wantCluster || got.Host != wantHost {
				t.Errorf("to add:\n%s%s", got.Cluster, got.Host)
			}
		})
	}
}
