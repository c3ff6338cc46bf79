package lxc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

func TestFreeRange(t *testing.T) {
	cases := []struct {
		name, uids, gids string
		guests           map[string]string // file below the lxcpath to content
		want             int               // 0: there is none
	}{
		{"first that is free", "root:100000:655360", "root:100000:655360", nil, 165536},
		{"shared range alone", "root:100000:65536", "root:100000:65536", nil, 0},
		{"no lines", "", "", nil, 0},
		{"too small", "root:200000:65535", "root:200000:65535", nil, 0},
		{"users alone", "root:200000:65536", "", nil, 0},
		{"files that differ", "root:200000:655360", "root:265536:65536", nil, 265536},
		{"the host's own users", "root:1:131071\nroot:300000:65536", "root:1:131071\nroot:300000:65536", nil, 300000},
		{"another user's", "root:200000:655360\nalice:210000:65536", "root:200000:655360\nbob:275536:65536", nil, 341072},
		{"of a guest", "root:200000:655360", "root:200000:655360", map[string]string{"8200/pct.conf": "lxc.idmap: u 0 200000 65536\nlxc.idmap: g 0 200000 65536\n"}, 265536},
		{"of a group alone", "root:200000:655360", "root:200000:655360", map[string]string{"8200/pct.conf": "lxc.idmap: g 0 265535 1\n"}, 265536},
		{"being restored", "root:200000:655360", "root:200000:655360", map[string]string{".8200.partial/idmap": "lxc.idmap: u 0 200000 65536\n"}, 265536},
		{"being removed", "root:200000:655360", "root:200000:655360", map[string]string{".8200.partial/pct.conf": "lxc.idmap: u 0 200000 65536\n"}, 265536},
		{"beyond signed ids", "root:2147450000:655360", "root:2147450000:655360", nil, 0},
		{"more than there are", "root:200000:9223372036854775807", "root:200000:9223372036854775807", nil, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "subuid"), c.uids+"\n")
			write(t, filepath.Join(dir, "subgid"), c.gids+"\n")
			for name, content := range c.guests {
				write(t, filepath.Join(dir, "guests", name), content)
			}
			d := New(Options{Path: filepath.Join(dir, "guests"), SubUIDFile: filepath.Join(dir, "subuid"), SubGIDFile: filepath.Join(dir, "subgid"), PerGuest: true})
			got, err := d.freeRange()
			if got != c.want || (err != nil) != (c.want == 0) || err != nil && fault.Of(err) != fault.NotReady {
				t.Errorf("got %d, %v, want %d", got, err, c.want)
			}
		})
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "8200/pct.conf"), "lxc.idmap: nonsense\n")
	if _, err := New(Options{Path: dir, PerGuest: true}).freeRange(); err == nil || !strings.Contains(err.Error(), "8200/pct.conf") {
		t.Errorf("a guest whose ids cannot be told: error %v", err)
	}
}

// TestReserveIDs: restores at the same time get ranges of their own, and what
// the archive says of ids does not count.
func TestReserveIDs(t *testing.T) {
	dir := t.TempDir()
	ids := filepath.Join(dir, "subid")
	write(t, ids, "root:100000:6553600\n")
	d := New(Options{Path: filepath.Join(dir, "guests"), SubUIDFile: ids, SubGIDFile: ids, PerGuest: true})
	const guests = 16
	confs := make([]*pctconf.Config, guests)
	var all sync.WaitGroup
	for i := range guests {
		partial := d.partialDir(8200 + i)
		if err := os.MkdirAll(partial, 0o700); err != nil {
			t.Fatal(err)
		}
		confs[i] = parse(t, "unprivileged: 1\nlxc.idmap: u 0 200000 65536\nlxc.idmap: g 0 300000 65536\n")
		all.Go(func() {
			if err := d.reserveIDs(t.Context(), partial, confs[i]); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	seen := map[driver.IDs]bool{}
	for _, c := range confs {
		m, err := idMap(c)
		if err != nil {
			t.Fatal(err)
		}
		uid, gid := m.Root()
		if ids := (driver.IDs{UID: uid, GID: gid}); seen[ids] || uid != gid || uid == defaultIDBase {
			t.Errorf("range of %s twice, or the shared one", fmt.Sprint(ids))
		}
		seen[driver.IDs{UID: uid, GID: gid}] = true
	}
}
