package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/firewall"
	"github.com/felhom/felhom-golden/agentd/internal/guests/gueststest"
)

// A guest whose configuration cannot be read now keeps its entries; one that is
// gone does not.
func TestFirewallKeepsWhatItCannotLookUp(t *testing.T) {
	store, dir := gueststest.Open(t)
	if _, err := store.Mint(t.Context(), 8200, 100000, time.Hour); err != nil {
		t.Fatal(err)
	}
	cfg := config.Config{Hypervisor: config.HypervisorLXC, LXCPath: filepath.Join(dir, "lxc"), Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8443")}}
	conf := filepath.Join(cfg.LXCPath, "8200/pct.conf")
	if err := os.MkdirAll(filepath.Dir(conf), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte("net0: name=eth0,bridge=br0,hwaddr=BC:24:11:00:00:0A,ip=192.0.2.10/24,type=veth\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	look := func(before firewall.Plan) firewall.Plan {
		t.Helper()
		p, err := firewallPlan(t.Context(), cfg, store, before)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	whole := look(firewall.Plan{})
	if len(whole.Entries) == 0 {
		t.Fatalf("no entries: %v", whole.Skipped)
	}
	if err := os.Remove(conf); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(conf, 0o700); err != nil { // it cannot be read
		t.Fatal(err)
	}
	if p := look(whole); !slices.Equal(p.Entries, whole.Entries) || len(p.Skipped) != 1 {
		t.Errorf("entries %v, skipped %q; want those before, and why", p.Entries, p.Skipped)
	}
	if err := os.RemoveAll(filepath.Dir(conf)); err != nil {
		t.Fatal(err)
	}
	if p := look(whole); len(p.Entries) != 0 {
		t.Errorf("a guest that is gone has entries %v", p.Entries)
	}
}
