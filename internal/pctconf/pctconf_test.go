package pctconf_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

const sample = `#Golden%3A 100%25
#second line
arch: amd64
cores: 2
features: keyctl=1,nesting=1
hostname: golden
memory: 2048
net0: name=eth0,bridge=vmbr0,ip=dhcp,type=veth
ostype: debian
rootfs: local-lvm:vm-9100-disk-0,size=8G
swap: 0
tags: a;b
unprivileged: 1
lxc.idmap: u 0 100000 65536
lxc.idmap: g 0 100000 65536

[pve:pending]
delete: swap
memory: 4096

[before_upgrade]
#note
arch: amd64
memory: 512
snaptime: 1750000000
`

func TestParseFormatRoundTrip(t *testing.T) {
	c, findings := pctconf.Parse([]byte(sample))
	if len(findings) > 0 {
		t.Errorf("findings %v", findings)
	}
	if d := cmp.Diff(sample, string(c.Format())); d != "" {
		t.Error(d)
	}
	if c.Description != "Golden: 100%\nsecond line" || len(c.LXC) != 2 || c.Pending == nil || len(c.Snapshots) != 1 || c.Snapshots[0].Description != "note" {
		t.Errorf("config %+v", c)
	}
	if v, ok := c.Get("memory"); v != "2048" || !ok || c.Line("memory") != 7 {
		t.Errorf("memory %q on line %d", v, c.Line("memory"))
	}
	if on, ok := c.Bool("unprivileged"); !on || !ok {
		t.Error("unprivileged is not on")
	}
}

func TestFindings(t *testing.T) {
	cases := []struct {
		name, text string
		want       []string
	}{
		{"unknown key", "colour: red", []string{"line 1: colour: no such key in pct.conf"}},
		{"all at once", "arch: vax\n\nmemory: 8\nnet0: bridge=vmbr0", []string{
			`line 1: arch: "vax": want one of amd64, i386, arm64, armhf, riscv32, riscv64`,
			`line 3: memory: "8": want a whole number from 16 to 2147483647`,
			"line 4: net0: no property name, which is required",
		}},
		{"no setting", "Memory 512", []string{`line 1: "Memory 512" is not a setting: want key: value`}},
		{"set again", "swap: 1\nswap: 2", []string{"line 2: swap: set again; the first is on line 1 and the last one counts"}},
		{"section name", "[1st]", []string{`line 1: "[1st]" is not a section: want [name] with a letter first, then letters, digits, _ and -`}},
		{"section again", "[ab]\n[ab]", []string{"line 2: a second section [ab]; the first is on line 1"}},
		{"pending again", "[pve:pending]\n[PVE:PENDING]", []string{"line 2: a second pending section; the first is on line 1"}},
		{"raw key", "lxc.rootfs.path: /", []string{"line 1: lxc.rootfs.path: this raw key is not allowed: PVE sets it"}},
		{"old cgroup", "lxc.cgroup.memory = 1", []string{"line 1: lxc.cgroup.memory: this raw key is for cgroup v1: use lxc.cgroup2"}},
		{"not canonical", "onboot: yes", []string{`line 1: onboot: "yes" is not the canonical form, which is "1"`}},
		{"in a snapshot", "[ab]\nmemory: x\nparent: other", []string{`line 2: memory: "x": want a whole number from 16 to 2147483647`}},
		{"number of a key", "net32: name=eth0", []string{"line 1: net32: no such key in pct.conf: want net0 to net31"}},
		{"number with a zero", "net00: name=eth0", []string{"line 1: net00: no such key in pct.conf: want net0 to net31"}},
		{"too large", strings.Repeat("#\n", 600_000), []string{"line 1: the file has 1200000 bytes, which exceeds the limit of 1048576"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, findings := pctconf.Parse([]byte(c.text))
			var got []string
			for _, f := range findings {
				got = append(got, f.String())
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCanonical(t *testing.T) {
	cases := []struct {
		key, value, want string // want "" is a refusal
	}{
		{"arch", "arm64", "arm64"},
		{"console", "off", "0"},
		{"cores", "2", "2"},
		{"cores", "0", ""},
		{"cores", "+2", ""},
		{"cpulimit", "1.5", "1.5"},
		{"cpulimit", "1e3", ""},
		{"cpuunits", "100", "100"},
		{"cmode", "tty", "tty"},
		{"debug", "maybe", ""},
		{"dev0", "/dev/net/tun,mode=0666,uid=0", "/dev/net/tun,mode=0666,uid=0"},
		{"dev0", "/dev/net/tun,mode=666", ""},
		{"entrypoint", "/sbin/init", "/sbin/init"},
		{"env", "A=1", "A=1"},
		{"features", "nesting=1,keyctl=on", "keyctl=1,nesting=1"},
		{"features", "nesting", ""},
		{"features", "mount=nfs;cifs", "mount=nfs;cifs"},
		{"features", "nesting=1,nesting=0", ""},
		{"hookscript", "local:snippets/x.sh", "local:snippets/x.sh"},
		{"hostname", "a.b-c.d", "a.b-c.d"},
		{"hostname", "a_b", ""},
		{"hostname", strings.Repeat("a", 64), ""},
		{"hostname", strings.Repeat("a.", 130) + "a", ""},
		{"lock", "backup", "backup"},
		{"memory", "16", "16"},
		{"memory", "15", ""},
		{"mp0", "mp=/data,size=4G,/srv/data", "/srv/data,mp=/data,size=4G"},
		{"mp0", "/srv/data", ""},
		{"mp256", "/srv/data,mp=/x", ""},
		{"nameserver", "192.0.2.1 192.0.2.2", "192.0.2.1 192.0.2.2"},
		{"net0", "bridge=vmbr0,ip=dhcp,name=eth0,firewall=yes", "name=eth0,bridge=vmbr0,firewall=1,ip=dhcp"},
		{"net0", "name=eth0,ip=192.0.2.7/24,gw=192.0.2.1,ip6=2001:db8::7/64,gw6=2001:db8::1", "name=eth0,gw=192.0.2.1,gw6=2001:db8::1,ip=192.0.2.7/24,ip6=2001:db8::7/64"},
		{"net0", "name=eth0,ip=192.0.2.7", ""},
		{"net0", "name=eth0,ip=2001:db8::7/64", ""},
		{"net0", "name=eth0,gw=no", ""},
		{"net0", "name=eth0,hwaddr=BC:24:11:00:00:01", "name=eth0,hwaddr=BC:24:11:00:00:01"},
		{"net0", "name=eth0,hwaddr=01:00:00:00:00:01", ""},
		{"net0", "name=eth0,mtu=63", ""},
		{"net0", "name=eth0,tag=4095", ""},
		{"net0", "name=eth0,trunks=1;2-5", "name=eth0,trunks=1;2-5"},
		{"net0", "name=eth0,colour=red", ""},
		{"onboot", "true", "1"},
		{"ostype", "unmanaged", "unmanaged"},
		{"parent", "snap", "snap"},
		{"protection", "no", "0"},
		{"rootfs", "size=8G,volume=local:0", "local:0,size=8G"},
		{"rootfs", "size=8G", ""},
		{"rootfs", "local:0,size=8X", ""},
		{"searchdomain", "example", "example"},
		{"searchdomain", "", ""},
		{"startup", "order=1,up=5,down=6", "order=1,up=5,down=6"},
		{"startup", "later", ""},
		{"swap", "0", "0"},
		{"tags", "B,a; a", "a;b"},
		{"tags", "-a", ""},
		{"template", "1", "1"},
		{"timezone", "host", "host"},
		{"tty", "7", ""},
		{"unprivileged", "1", "1"},
		{"unused0", "local:x", "local:x"},
		{"hostname", "a\nlxc.idmap: u", ""},
		{"hostname0", "a", ""},
	}
	seen := map[string]bool{}
	for _, c := range cases {
		t.Run(c.key+" "+c.value, func(t *testing.T) {
			got, err := pctconf.Canonical(c.key, c.value)
			if got != c.want || (err != nil) != (c.want == "") {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), c.key+": ") {
				t.Errorf("error %q does not name its key", err)
			}
		})
		seen[strings.TrimRight(c.key, "0123456789")] = true
	}
	for _, key := range pctconf.Keys() {
		if !seen[strings.TrimSuffix(key, "N")] {
			t.Errorf("no case for %s", key)
		}
	}
}

func TestSetLeavesTheOldValueOnAnError(t *testing.T) {
	var c pctconf.Config
	for _, v := range []string{"512", "1024"} {
		if err := c.Set("memory", v); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Set("memory", "lots"); err == nil {
		t.Error("lots was taken")
	}
	if got := string(c.Format()); got != "memory: 1024\n" {
		t.Errorf("%q", got)
	}
	c.Delete("memory")
	if _, ok := c.Get("memory"); ok {
		t.Error("memory is still there")
	}
}

func TestDescription(t *testing.T) {
	for _, text := range []string{"", "plain", "two\nlines", "blank\n\nline", "ünï: 100% \x01\x7f", " lead and trail ", "%41", "#"} {
		c := pctconf.Config{Description: text}
		encoded := c.Format()
		for _, b := range encoded {
			if b >= 0x7f || b < 0x20 && b != '\n' {
				t.Errorf("%q is encoded as %q", text, encoded)
			}
		}
		got, findings := pctconf.Parse(encoded)
		if got.Description != text || len(findings) > 0 {
			t.Errorf("%q came back as %q, %v", text, got.Description, findings)
		}
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"8G": 8 << 30, "0.5T": 1 << 39, "512M": 512 << 20, "4096": 4096, "1K": 1024} {
		if got, err := pctconf.ParseSize(text); got != want || err != nil {
			t.Errorf("%s is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "G", "-1G", "1P", "9999999999T", "1e3"} {
		if got, err := pctconf.ParseSize(text); err == nil {
			t.Errorf("%q is taken as %d", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	seeds := []string{sample, "[pve:pending]\n[a1]\n", "#%ZZ%4", "#%0A", "#\n#\n", "#a\n#\n#\n", "net0: a=b=c,,", "lxc.a = b", "\x00: \xff"}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, findings := pctconf.Parse(data)
		for _, finding := range findings {
			if finding.Line < 1 || finding.Message == "" {
				t.Errorf("finding %+v", finding)
			}
		}
		// What it writes it reads, and writes the same again.
		once := c.Format()
		again, _ := pctconf.Parse(once)
		if d := cmp.Diff(string(once), string(again.Format())); d != "" {
			t.Error(d)
		}
	})
}
