package pctconf_test

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

// TestReachingOut judges one line of each kind. What is not listed as allowed is
// refused, also a key that the grammar knows.
func TestReachingOut(t *testing.T) {
	for line, want := range map[string]string{
		"memory: 512": "", "net31: name=eth0": "", "unused0: local:1": "", "debug: 1": "", "protection: 0": "", "features: nesting=1,fuse=1,mknod=0": "",
		"rootfs: local:1,size=4G": "", "mp0: local:1,mp=/d": "", "lxc.idmap: u 0 100000 65536\nlxc.idmap: g 0 100000 65536": "",
		"hookscript: local:snippets/x": "a program of the host", "template: 1": "could not be started", "protection: maybe": "could not be", "lock: backup": "no task",
		"dev0: /dev/kvm": "a device", "features: mknod=1": "are allowed", "features: x": "want key=value", "rootfs: /srv": "a directory or device", "rootfs: local:1,idmap=u:0:0:1": "ids of the host",
		"mp0: /srv,mp=/srv": "a directory of the host", "mp0: /dev/sda,mp=/d": "a directory or device", "mp0: x,mp=/d": "not a volume", "entrypoint: /x": "not a key", "foo: bar": "not a key",
		"lxc.mount.entry: /": "lxc.idmap alone", "lxc.idmap: u 0 0 65536\nlxc.idmap: g 0 0 65536": "are its own users'", "[pve:pending]\nmemory: 1": "no pending", "[snap]\nmemory: 1": "no snapshots",
	} {
		config, _ := pctconf.Parse([]byte(line))
		var got []string
		for _, f := range pctconf.ReachingOut(config) {
			if f.Line == 0 {
				t.Errorf("%q: finding %q without a line", line, f)
			}
			got = append(got, f.String())
		}
		if text := strings.Join(got, "\n"); (want == "") != (text == "") || !strings.Contains(text, want) {
			t.Errorf("%q: got %q, want %q", line, text, want)
		}
	}
}
