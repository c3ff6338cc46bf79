package pctconf_test

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

func TestRootIDs(t *testing.T) {
	cases := []struct {
		name, text string
		uid, gid   int
		wantErr    string
	}{
		{"unprivileged", "unprivileged: 1", 100000, 100000, ""},
		{"unprivileged in words", "unprivileged: yes", 100000, 100000, ""},
		{"privileged", "unprivileged: 0", 0, 0, ""},
		{"nothing said", "memory: 512", 0, 0, ""},
		{"own map", "unprivileged: 1\nlxc.idmap: u 0 200000 65536\nlxc.idmap: g 0 300000 65536", 200000, 300000, ""},
		{"map without unprivileged", "lxc.idmap = u 0 200000 65536\nlxc.idmap = g 0 300000 65536", 200000, 300000, ""},
		{"last entry of root wins", "lxc.idmap: u 0 1 1\nlxc.idmap: u 0 200000 65536\nlxc.idmap: g 0 2 1", 200000, 2, ""},
		{"map in pieces", "lxc.idmap: u 0 200000 1000\nlxc.idmap: u 1000 1000 1\nlxc.idmap: g 0 200000 65536", 200000, 200000, ""},
		{"map that leaves root out", "unprivileged: 1\nlxc.idmap: u 1 200001 65535\nlxc.idmap: g 1 200001 65535", 0, 0, ""},
		{"users alone", "unprivileged: 1\nlxc.idmap: u 0 200000 65536", 200000, 0, ""},
		{"of a snapshot", "unprivileged: 1\n[snap]\nlxc.idmap: u 0 200000 65536", 100000, 100000, ""},
		{"malformed", "lxc.idmap: b 0 100000 65536", 0, 0, "b 0 100000 65536"},
		{"no numbers", "lxc.idmap: u zero 100000 65536", 0, 0, "u zero 100000 65536"},
		{"beyond all ids", "lxc.idmap: u 0 99999999999 65536", 0, 0, "u 0 99999999999 65536"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			config, _ := pctconf.Parse([]byte(c.text))
			uid, gid, err := pctconf.RootIDs(config)
			if uid != c.uid || gid != c.gid || (err != nil) != (c.wantErr != "") {
				t.Errorf("%d:%d, %v, want %d:%d", uid, gid, err, c.uid, c.gid)
			}
			if err != nil && !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("error %q does not quote %q", err, c.wantErr)
			}
		})
	}
}
