package pctconf_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/felhom/felhom-golden/internal/fuzztest"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

// FuzzValue holds what is written of a value against what is read: a setting that
// means something else when it is read again would get past a check.
func FuzzValue(f *testing.F) {
	for _, s := range [][2]string{
		{"net0", "name=eth0,bridge=vmbr0,firewall=1,gw=192.0.2.1,hwaddr=BC:24:11:2C:6E:0A,ip=192.0.2.7/24,ip6=auto,mtu=1400,rate=1.5,tag=7,trunks=2;3-4,type=veth"},
		{"mp0", "/srv/felhom/mounts/8200,mp=/etc/felhom-bootstrap,replicate=0,ro=1"},
		{"mp1", "local-lvm:vm-8200-disk-1,mp=/data,size=8G,backup=1,mountoptions=noatime;discard"},
		{"mp2", "volume=/a=b,mp=/x"},
		{"rootfs", "local:8200/vm-8200-disk-0.raw,size=8G"},
		{"features", "nesting=1,keyctl=on"},
		{"dev0", "/dev/fuse,mode=0666,uid=0"},
		{"startup", "order=1,up=5"},
		{"tags", "a;b,c d"},
		{"hostname", "app.example"},
		{"memory", "512"},
		{"cpulimit", "1.50"},
		{"unused0", "local:vm-1-disk-0"},
		{"arch", "amd64"},
		{"mp00", ""},
		{"net0", "name=eth0,ip=::1/128"},
		{"net0", "name=a,rate=NaN"},
		{"cpulimit", "1e3"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		once, err := pctconf.Canonical(key, value)
		if err == nil {
			if twice, err := pctconf.Canonical(key, once); err != nil || twice != once {
				t.Errorf("%s: %q is written as %q, which is read as %q, %v", key, value, once, twice, err)
			}
			c, findings := pctconf.Parse([]byte(key + ": " + once + "\n"))
			if got, ok := c.Get(key); !ok || got != once || len(findings) > 0 {
				t.Errorf("%s: %q is read back as %q, %v", key, once, got, findings)
			}
		}
		if n, err := pctconf.ParseNet(value); err == nil {
			again, err := pctconf.ParseNet(n.String())
			if d := cmp.Diff(n, again, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" || err != nil {
				t.Errorf("%q is written as %q, and read with %v:\n%s", value, n.String(), err, d)
			}
			if _, err := pctconf.Canonical("net0", n.String()); err != nil {
				t.Errorf("%q is written as %q: %v", value, n.String(), err)
			}
		}
		if m, err := pctconf.ParseMount(value); err == nil && m.Source != "" && m.Target != "" {
			again, err := pctconf.ParseMount(m.String())
			if d := cmp.Diff(m, again); d != "" || err != nil {
				t.Errorf("%q is written as %q, and read with %v:\n%s", value, m.String(), err, d)
			}
		}
		if n, err := pctconf.ParseSize(value); err == nil && n < 0 {
			t.Errorf("size %q is %d", value, n)
		}
		if pctconf.CheckVolume(value, 8200) == nil && (slices.Contains(strings.FieldsFunc(value, func(r rune) bool { return r == '/' || r == ':' }), "..") || strings.HasPrefix(value, "/")) {
			t.Errorf("%q is a volume", value)
		}
	})
}

func TestLongTexts(t *testing.T) {
	fuzztest.Long(t, "arch: amd64\n", func(text string) {
		c, _ := pctconf.Parse([]byte(text))
		pctconf.ReachingOut(c)
		c.Format()
	}, "\n", "a", "#a\n", "#%0", "a: 1\n", "arch: amd64\n", "lxc.a: 1\n", "mp0: /a,mp=/b\n", "net0: name=a,", "[a]\n", "[a]\na: b\n", "lxc.idmap: u 0 100000 1\n", "tags: a;", "a,")
}
