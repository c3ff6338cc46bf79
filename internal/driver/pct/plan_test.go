package pct_test

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
)

// What root restores PVE takes as it is: an archive must not reach the node.
func TestArchiveReachesOut(t *testing.T) {
	lines := []string{
		"hookscript: local:snippets/x.pl", "template: 1", "protection: 1", "lock: backup", "dev0: /dev/sda,mode=0666", "dev12: path=/dev/kvm",
		"mp0: /etc,mp=/mnt", "mp7: volume=/dev/sdb,mp=/disk", "lxc.mount.entry: /root root none bind 0 0", "lxc.apparmor.profile: unconfined",
	}
	cases := map[string][]string{"all at once": lines}
	for _, line := range lines {
		cases[line] = []string{line}
	}
	for name, bad := range cases {
		t.Run(name, func(t *testing.T) {
			n, d := newDriver(t)
			archive(t, n, golden, goldenConfig+strings.Join(bad, "\n")+"\n", 0)
			var keys []string
			for _, line := range bad {
				key, _, _ := strings.Cut(line, ": ")
				keys = append(keys, "pct.conf: "+key+" ")
			}
			wantClass(t, d.Check(t.Context(), vmid, spec()), driver.ErrArchive, keys...)
			wantClass(t, d.Restore(t.Context(), vmid, spec(), nil), driver.ErrArchive, keys...)
			if calls := n.Calls(); len(calls) > 0 {
				t.Errorf("called %v", calls)
			}
		})
	}
	t.Run("harmless", func(t *testing.T) {
		n, d := newDriver(t)
		archive(t, n, golden, goldenConfig+"protection: 0\nmp0: other:vm-9100-disk-1,mp=/srv,size=1G\nlxc.idmap: u 0 100000 65536\nlxc.idmap: g 0 100000 65536\n", 0)
		if err := d.Check(t.Context(), vmid, spec()); err != nil {
			t.Error(err)
		}
	})
}
