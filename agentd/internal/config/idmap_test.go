package config_test

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/config"
)

func TestIDMap(t *testing.T) {
	for _, c := range []struct{ text, want, wantErr string }{
		{"", "shared", ""},
		{"id_map: shared\n", "shared", ""},
		{"id_map: per-guest\nhypervisor: lxc\n", "per-guest", ""},
		{"hypervisor: lxc\nid_map: per-guest\n", "per-guest", ""},
		{"id_map: per-guest\n", "", "f:4:9: error: id_map: per-guest needs hypervisor: lxc"},
		{"hypervisor: pct\nid_map: per-guest\n", "", "f:5:9: error: id_map: per-guest needs hypervisor: lxc"},
		{"id_map: perguest\n", "", `want shared or per-guest, got "perguest"`},
	} {
		got, err := config.Parse("f", []byte(minimal+c.text))
		if got.IDMap != c.want || (err != nil) != (c.wantErr != "") || err != nil && !strings.Contains(err.Error(), c.wantErr) {
			t.Errorf("%q: got %q, %v, want %q %q", c.text, got.IDMap, err, c.want, c.wantErr)
		}
	}
}
