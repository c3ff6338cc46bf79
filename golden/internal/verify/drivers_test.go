package verify_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/verify"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
	"github.com/felhom/felhom-golden/internal/leaktest"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/soak"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Run(pcttest.Tests{M: m}))
}

// configChanges are edits of a good pct.conf: old text and new.
var configChanges = []struct {
	name, old, text string
	passes          bool // must be accepted by all
}{
	{"none", "", "", true},
	{"notes", "arch:", "#a note%3A 100%25\narch:", true},
	{"words for booleans", "unprivileged: 1", "unprivileged: yes\nonboot: on\nprotection: off", true},
	{"features by words", "keyctl=1,nesting=1", "nesting=on,keyctl=true,fuse=1,mknod=0", true},
	{"tags", "arch:", "tags: a;b\narch:", true},
	{"start order", "arch:", "startup: order=1,up=5\narch:", true},
	{"fixed address", "ip=dhcp", "ip=192.0.2.7/24,gw=192.0.2.1", true},
	{"blank lines", "arch:", "\n\narch:", true},

	{"unknown key", "arch:", "foo: bar\narch:", false},
	{"bad boolean", "arch:", "onboot: maybe\narch:", false},
	{"bad tags", "arch:", "tags: !!bad\narch:", false},
	{"no colon", "arch:", "onboot 1\narch:", false},
	{"upper case", "arch:", "Onboot: 1\narch:", false},
	{"indented", "arch:", " onboot: 1\narch:", false},
	{"key twice", "arch:", "memory: 64\narch:", false},
	{"number of no key", "arch:", "memory0: 64\narch:", false},
	{"number too large", "arch:", "net99: name=eth1,type=veth\narch:", false},
	{"number with a zero", "net0:", "net00:", false},
	{"second interface", "arch:", "net1: name=eth1,bridge=vmbr0,ip=dhcp,type=veth\narch:", false},
	{"memory of words", "memory: 2048", "memory: lots", false},
	{"memory too small", "memory: 2048", "memory: 1", false},
	{"memory too large", "memory: 2048", "memory: 99999999999999999999", false},
	{"memory with a unit", "memory: 2048", "memory: 2G", false},
	{"cores", "cores: 2", "cores: 0", false},
	{"too many cores", "cores: 2", "cores: 100000", false},
	{"swap", "swap: 512", "swap: -1", false},
	{"arch", "arch: ", "arch: x", false},
	{"ostype", "ostype: debian", "ostype: minix", false},
	{"hostname", "hostname: golden", "hostname: a_b..c", false},
	{"cmode", "arch:", "cmode: x\narch:", false},
	{"tty", "arch:", "tty: 7\narch:", false},
	{"unknown property", "type=veth", "type=veth,colour=red", false},
	{"property twice", "type=veth", "type=veth,name=eth1", false},
	{"no name", "name=eth0,", "", false},
	{"address", "ip=dhcp", "ip=somewhere", false},
	{"gateway", "ip=dhcp", "ip=dhcp,gw=x", false},
	{"type", "type=veth", "type=phys", false},
	{"VLAN", "type=veth", "type=veth,tag=5000", false},
	{"feature", "nesting=1", "nesting=1,everything=1", false},
	{"feature mount", "nesting=1", "nesting=1,mount=nfs", false},
	{"feature mknod", "nesting=1", "nesting=1,mknod=1", false},
	{"feature value", "nesting=1", "nesting=maybe", false},
	{"no nesting", "nesting=1", "nesting=0", false},
	{"no features", "features: keyctl=1,nesting=1\n", "", false},
	{"privileged", "unprivileged: 1", "unprivileged: 0", false},
	{"not unprivileged", "unprivileged: 1\n", "", false},
	{"unprivileged of words", "unprivileged: 1", "unprivileged: perhaps", false},
	{"no size", ",size=8G", "", false},
	{"size", "size=8G", "size=big", false},
	{"root file system of the host", "local-lvm:vm-9100-disk-0", "/dev/sda", false},
	{"root file system with an id map", "size=8G", "size=8G,idmap=u:0:0:1", false},
	{"mount point of the host", "arch:", "mp0: /etc,mp=/host\narch:", false},
	{"device", "arch:", "dev0: /dev/kvm\narch:", false},
	{"hook", "arch:", "hookscript: local:snippets/x.sh\narch:", false},
	{"lock", "arch:", "lock: backup\narch:", false},
	{"template", "arch:", "template: 1\narch:", false},
	{"protection", "arch:", "protection: 1\narch:", false},
	{"key of LXC", "arch:", "lxc.mount.entry: /etc host none bind 0 0\narch:", false},
	{"key of LXC with =", "arch:", "lxc.apparmor.profile = unconfined\narch:", false},
	{"id map of the host's root", "arch:", "lxc.idmap: u 0 0 65536\nlxc.idmap: g 0 0 65536\narch:", false},
	{"id map in part", "arch:", "lxc.idmap: u 0 0 1\nlxc.idmap: u 1 100001 65535\narch:", false},
	{"pending changes", "unprivileged: 1\n", "unprivileged: 1\n\n[pve:pending]\nmemory: 64\n", false},
	{"snapshot", "unprivileged: 1\n", "unprivileged: 1\n\n[snap]\nmemory: 64\n", false},
	{"bad section", "unprivileged: 1\n", "unprivileged: 1\n\n[1]\nmemory: 64\n", false},
	{"error in a section", "unprivileged: 1\n", "unprivileged: 1\n\n[snap]\nfoo: bar\n", false},
	{"no-break space", "memory: 2048", "memory: 2048\u00a0", false},
	{"vertical tab", "memory: 2048", "memory: 2048\v", false},
	{"carriage return inside", "memory: 2048", "memory: 2048\rswap: 0", false},
	{"NUL byte", "hostname: golden", "hostname: golden\x00", false},
	{"byte order mark", "arch:", "\ufeffarch:", false},
	{"line separator", "memory: 2048", "memory: 2048\u2028", false},
	{"too long", "arch:", strings.Repeat("#x\n", 200_000) + "arch:", false},
}

// drivers returns the checks that the drivers make before they restore an archive.
func drivers(t *testing.T) map[string]func(context.Context, int, driver.Spec) error {
	t.Helper()
	node := pcttest.New(t)
	pve, err := pct.New(pct.Options{
		Node: pcttest.NodeName, Pct: node.Bin("pct"), Pvesh: node.Bin("pvesh"), Pvesm: node.Bin("pvesm"), DpkgQuery: node.Bin("dpkg-query"),
		PVEDir: node.Dir("etc/pve"), NetDir: node.Dir("net"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]func(context.Context, int, driver.Spec) error{
		"pct": pve.Check, "lxc": lxc.New(lxc.Options{Path: t.TempDir(), SysDir: t.TempDir()}).Check,
	}
}

// baseConfig is the pct.conf of a good archive for this machine.
func baseConfig() string {
	return strings.Replace(good().data[vzdump.ConfigPath], "amd64", runtime.GOARCH, 1)
}

// passes reports whether verify accepts an archive with this pct.conf. If so,
// each driver must take it, or refuse it as it does a good one: for what this
// machine lacks.
func passes(t *testing.T, checks map[string]func(context.Context, int, driver.Spec) error, conf string) bool {
	t.Helper()
	s := good()
	s.put(vzdump.ConfigPath, 0o644, conf)
	report := s.verify(t, verify.Options{Enable: []string{"guest-config"}})
	if report.Errors > 0 {
		return false
	}
	file := filepath.Join(t.TempDir(), archiveName)
	refusal := func(check func(context.Context, int, driver.Spec) error, s *sample) string {
		if err := os.WriteFile(file, s.bytes(t), 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(check(t.Context(), 9000, driver.Spec{Archive: file, Storage: "local-lvm", Net: driver.Net{Bridge: "vmbr0"}}))
	}
	base := good()
	base.put(vzdump.ConfigPath, 0o644, baseConfig())
	for name, check := range checks {
		want, got := refusal(check, base), refusal(check, s)
		for line := range strings.Lines(got) {
			if !strings.Contains(want, strings.TrimSpace(line)) {
				t.Errorf("%s refuses what verify passes: %s\n%q", name, line, conf)
			}
		}
	}
	return true
}

// TestPassesOnlyWhatDriversTake gives each configuration to verify and to the
// drivers.
func TestPassesOnlyWhatDriversTake(t *testing.T) {
	checks, base := drivers(t), baseConfig()
	for _, c := range configChanges {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(base, c.old) {
				t.Fatalf("%q has no %q", base, c.old)
			}
			if passed := passes(t, checks, strings.Replace(base, c.old, c.text, 1)); passed != c.passes {
				t.Errorf("verify passes: %v, want %v", passed, c.passes)
			}
		})
	}
}

// Values and odd texts of which configurations are made.
var (
	configValues = []string{
		"", "0", "1", "2", "on", "no", "maybe", "-1", "00", "1.5", "512", "99999999999", "debian", "unmanaged", "a;b", "!!bad", "A", "a b", "x=y", "local:vm-1-disk-0,size=4G",
		"local-lvm:vm-9100-disk-0,size=8G,idmap=u:0:0:1", "/dev/sda,size=1G", "/srv,mp=/srv", "local:1,mp=/d", "nesting=1,keyctl=1", "nesting=1,keyctl=1,mount=nfs", "name=eth0,ip=dhcp,type=veth",
		"name=eth0,bridge=vmbr0,ip=192.0.2.7/24,gw=192.0.2.1,type=veth", "name=eth0,ip6=auto,type=veth", "name=eth0,hwaddr=BC:24:11:00:00:01", "order=1,up=5", "up=x", "Europe/Berlin", "host",
		"u 0 100000 65536", "g 0 0 1", "a.example", "-x", "local:snippets/x.sh", "volume=local:1,size=8G", runtime.GOARCH, "192.0.2.53 2001:db8::53", "tty", "shell",
	}
	configNoise = []string{" ", "\t", "\r", "\v", "\x00", "\u00a0", "\u2028", "#", ":", "=", ",", ";", "[", "]", "%", "ä", "\n", "\n\n", "\ufeff"}
	configLines = []string{"[snap]", "[pve:pending]", "[PVE:PENDING]", "[1]", "#note%3A", "lxc.idmap: u 0 100000 65536", "lxc.idmap = g 0 0 65536", "lxc.environment: A=b", "onboot", ": 1", "foo: bar"}
)

// changeConfig makes one to three random edits.
func changeConfig(r *rand.Rand, text string) string {
	pick := func(list []string) string { return list[r.IntN(len(list))] }
	for range 1 + r.IntN(3) {
		lines := strings.Split(text, "\n")
		at := r.IntN(len(lines))
		switch r.IntN(6) {
		case 0: // another value
			if key, _, ok := strings.Cut(lines[at], ":"); ok {
				lines[at] = key + ": " + pick(configValues)
			}
		case 1: // another setting
			key := strings.Replace(pick(pctconf.Keys()), "N", pick([]string{"0", "1", "00", "31", "256"}), 1)
			lines = slices.Insert(lines, at, key+": "+pick(configValues))
		case 2:
			lines = slices.Insert(lines, at, pick(configLines))
		case 3: // characters that readers may read differently
			i := r.IntN(len(lines[at]) + 1)
			lines[at] = lines[at][:i] + pick(configNoise) + lines[at][i:]
		case 4:
			lines = slices.Delete(lines, at, at+1)
		case 5:
			lines = slices.Insert(lines, at, lines[r.IntN(len(lines))])
		}
		text = strings.Join(lines, "\n")
	}
	return text
}

// TestPassesOnlyWhatDriversTakeAtRandom does the same with generated
// configurations.
func TestPassesOnlyWhatDriversTakeAtRandom(t *testing.T) {
	checks, base := drivers(t), baseConfig()
	r, rounds := soak.Start(t, 400)
	passed := 0
	for range rounds {
		if passes(t, checks, changeConfig(r, base)) {
			passed++
		}
		if t.Failed() {
			return
		}
	}
	if passed < rounds/100 || passed > rounds/2 {
		t.Errorf("verify passes %d of %d configurations: the test says little", passed, rounds)
	}
}

// TestRestoreTakesWhatVzdumpWrites packs a guest with holes in a file, by the
// options of vzdump.
func TestRestoreTakesWhatVzdumpWrites(t *testing.T) {
	root := t.TempDir()
	conf := good().data[vzdump.ConfigPath]
	for name, text := range map[string]string{
		"etc/vzdump/pct.conf": conf, "etc/vzdump/pct.fw": "", "etc/debian_version": "13.2\n", "etc/os-release": "ID=debian\n", "usr/bin/sh": "sh", "usr/sbin/init": "init", "usr/lib/x": "x",
	} {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bin", "sbin", "lib"} {
		if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chmod(root, 0o755), os.WriteFile(filepath.Join(root, "holes"), []byte("x"), 0o644), os.Truncate(filepath.Join(root, "holes"), 1<<20)); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), archiveName)
	pack := exec.CommandContext(t.Context(), "tar", "-c", "-p", "--zstd", "-f", archive, "--one-file-system", "--sparse", "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=user.*",
		"--xattrs-include=security.capability", "--warning=no-file-ignored", "--warning=no-xattr-write",
		"--directory="+root, "./etc/vzdump/pct.conf", "./etc/vzdump/pct.fw", "--exclude=./etc/vzdump", ".")
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	report, err := verify.Archive(t.Context(), f, archiveName, verify.Options{Profile: verify.Restore})
	if err != nil || report.Errors > 0 {
		t.Errorf("error %v, findings %+v", err, report.Findings)
	}
}
