package lxc

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
)

// lxcKeys are the keys that this driver gives to liblxc.
var lxcKeys = []string{
	"lxc.include", "lxc.apparmor.profile", "lxc.apparmor.allow_nesting", "lxc.mount.auto", "lxc.idmap", "lxc.rootfs.path", "lxc.uts.name", "lxc.tty.max", "lxc.pty.max", "lxc.console.logfile",
	"lxc.console.size", "lxc.start.auto", "lxc.net.0.type", "lxc.net.0.link", "lxc.net.0.veth.pair", "lxc.net.0.name", "lxc.net.0.flags", "lxc.net.0.hwaddr", "lxc.net.0.veth.vlan.id", "lxc.net.0.mtu",
	"lxc.cgroup2.memory.max", "lxc.cgroup2.memory.swap.max", "lxc.cgroup2.cpu.max", "lxc.mount.entry",
}

// FuzzConfig: whatever an archive's pct.conf is, what this driver takes gives liblxc
// the known keys alone, each in a line of its own, no mount, no root of the host,
// and no file of the host but the guest's own.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{
		archived, "arch: amd64\nhostname: a\nrootfs: a:b\nunprivileged: 1\nlxc.idmap: u 0 100000 65536\nlxc.idmap: g 0 100000 65536\n", "lxc.idmap: u 0 0 65536\n", "lxc.mount.entry: / x none bind 0 0\n",
		"mp0: /etc,mp=/x\nrootfs: a:b\n", "hostname: a b\nnet0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:2C:6E:0A,tag=7,mtu=1400,link_down=1\n", "memory: 512\u00a0\n", "#a%0Alxc.hook.start = x\nrootfs: a:b\n",
	} {
		f.Add([]byte(s))
	}
	sys := f.TempDir()
	d := New(Options{Path: "/srv/guests", SysDir: sys, ConfigDir: "/usr/share/lxc/config"})
	f.Fuzz(func(t *testing.T, data []byte) {
		archived, err := parseArchived("a.tar.zst", data)
		if err != nil {
			return
		}
		c, err := applySpec(archived, driver.Spec{})
		if err != nil {
			return
		}
		text, err := d.lxcConfig(8200, c)
		if err != nil {
			return
		}
		for line := range strings.Lines(text) {
			key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
			switch {
			case strings.HasPrefix(line, "# Written from pct.conf"):
			case !ok || !slices.Contains(lxcKeys, key) || strings.ContainsAny(value, "\r\x00"):
				t.Errorf("%q gives the line %q", data, line)
			case key == "lxc.mount.entry":
				t.Errorf("%q mounts %q", data, value)
			case key == "lxc.idmap" && (strings.HasPrefix(value, "u 0 0 ") || strings.HasPrefix(value, "g 0 0 ")):
				t.Errorf("%q makes the guest's root the host's", data)
			case key == "lxc.rootfs.path" && value != "dir:"+filepath.Join(d.dir(8200), rootfsDir):
				t.Errorf("%q has its root at %q", data, value)
			}
		}
		for name, value := range map[string]string{"lxc.rootfs.path": "", "lxc.uts.name": ""} {
			if n := strings.Count(text, "\n"+name+" = "+value); n != 1 {
				t.Errorf("%q: %s is there %d times", data, name, n)
			}
		}
	})
}

func FuzzInfo(f *testing.F) {
	for _, s := range []string{"State:          RUNNING\nPID:            4711\n", "State: STOPPED\n", "State: FROZEN\nPID: 99999999999999999999\n", "PID: -1\n", ":\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		state, pid, ok := parseInfo(text)
		if ok && (pid < 0 || pid == 0 && state != stateStopped || pid > 0 && state == stateStopped) {
			t.Errorf("%q is %q, %d, %v", text, state, pid, ok)
		}
	})
}
