//go:build packages

package packages_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

// What a machine has beside Debian's essential packages. A bare one is a Debian with systemd, as an installer leaves it. One that
// reaches nothing outside needs what the packages depend on, too.
const (
	bare       = "apt,systemd,systemd-sysv,dbus,iproute2"
	standalone = bare + ",ca-certificates,mmdebstrap,debian-archive-keyring,lxc,uidmap"
)

// A machine's ids are as many as it needs for guests of its own, whose root is its user 100000.
const (
	idBase  = 100000
	idCount = 200000
)

// TestMain runs the tests where root may map the ids of machines.
func TestMain(m *testing.M) {
	os.Exit(testbed.RunWithSubIDs(func() int { return leaktest.Run(m) }))
}

// machine is a Debian with systemd, in an unprivileged guest.
type machine struct {
	guest.Guest
	suite   string
	address netip.Addr
	env     []string // of commands in it
}

// newMachine boots a Debian of the suite. It has the packages of both versions in /debs/old and /debs/new.
func newMachine(t *testing.T, suite, include string, last byte) machine {
	t.Helper()
	bed := testbed.FromEnv(t)
	m := machine{
		Guest: guest.Guest{VMID: testbed.VMIDs(t, 1)[0], Path: bed.LXCPath()}, suite: suite, address: withLast(t, bed.Address, last),
		env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"},
	}
	if err := os.MkdirAll(m.Rootfs(), 0o755); err != nil {
		t.Fatal(err)
	}
	// A user of the host walks through these directories: the machine's root.
	if err := errors.Join(os.Chmod(m.Path, 0o711), os.Chmod(m.Dir(), 0o711), os.Chown(m.Rootfs(), idBase, idBase)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(m.Dir()); err != nil {
			t.Error(err)
		}
	})
	m.unpack(t, include)
	m.write(t, "etc/systemd/network/eth0.network", fmt.Sprintf("[Match]\nName=eth0\n[Network]\nAddress=%s/24\nLinkLocalAddressing=no\n", m.address))
	m.write(t, "etc/resolv.conf", "")
	m.copyPackages(t)
	m.boot(t, bed.Bridge)
	return m
}

// boot starts the machine with liblxc's own program: the product gives no guest more than 65536 ids.
func (m machine) boot(t *testing.T, bridge string) {
	t.Helper()
	config := fmt.Sprintf(`lxc.include = /usr/share/lxc/config/common.conf
lxc.include = /usr/share/lxc/config/userns.conf
lxc.include = /usr/share/lxc/config/nesting.conf
lxc.apparmor.profile = unconfined
lxc.mount.auto =
lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed
lxc.idmap = u 0 %[1]d %[2]d
lxc.idmap = g 0 %[1]d %[2]d
lxc.rootfs.path = dir:%[3]s
lxc.uts.name = %[4]s
lxc.tty.max = 2
lxc.pty.max = 1024
lxc.console.logfile = %[5]s/console.log
lxc.net.0.type = veth
lxc.net.0.link = %[6]s
lxc.net.0.name = eth0
lxc.net.0.flags = up
`, idBase, idCount, m.Rootfs(), m.suite, m.Dir(), bridge)
	if err := os.WriteFile(filepath.Join(m.Dir(), "config"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	// As on a host with the unified hierarchy alone: systemd 256 and later starts in no other guest.
	const script = `mountpoint -q /sys/fs/cgroup && [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec lxc-start "$@"`
	name := []string{"--lxcpath", m.Path, "--name", strconv.Itoa(m.VMID)}
	command(t, append([]string{"unshare", "--mount", "--propagation", "slave", "sh", "-ec", script, "sh", "--daemon", "--logfile", filepath.Join(m.Dir(), "lxc.log")}, name...)...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := run.Run(ctx, run.Cmd{Path: "lxc-stop", Args: append(name, "--kill")}); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := m.Booted(ctx); err != nil {
		t.Fatal(err)
	}
}

// mirror returns the archive of this machine's own apt.
func mirror(t *testing.T) string {
	t.Helper()
	uris := command(t, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
	for uri := range strings.FieldsSeq(uris) {
		if strings.HasSuffix(strings.TrimRight(uri, "/"), "/debian") {
			return uri
		}
	}
	t.Fatalf("this machine's apt has no archive of Debian:\n%s", uris)
	return ""
}

// unpack makes the root file system. lxc.service is masked: it starts no guests here,
// and waits half a minute for a bridge that lxc-net cannot make in a guest.
func (m machine) unpack(t *testing.T, include string) {
	t.Helper()
	tar := filepath.Join(m.Dir(), "root.tar")
	command(t, "unshare", "--mount", "mmdebstrap", "--mode=root", "--variant=minbase", "--quiet", "--skip=cleanup/apt",
		"--include="+include, "--customize-hook=systemctl --root=\"$1\" enable systemd-networkd", "--customize-hook=systemctl --root=\"$1\" mask lxc.service",
		"--dpkgopt=path-exclude=/usr/share/doc/lxc*", m.suite, tar, mirror(t))
	command(t, "lxc-usernsexec", "-m", fmt.Sprintf("u:0:%d:65536", idBase), "-m", fmt.Sprintf("g:0:%d:65536", idBase), "--",
		"tar", "-C", m.Rootfs(), "--exclude=./dev/*", "-xpf", "-", "<"+tar)
	if err := os.Remove(tar); err != nil {
		t.Fatal(err)
	}
}

func (m machine) copyPackages(t *testing.T) {
	t.Helper()
	for name, variable := range map[string]string{"old": "FELHOM_OLD_PACKAGES", "new": "FELHOM_NEW_PACKAGES"} {
		all, err := filepath.Glob(filepath.Join(os.Getenv(variable), "*_amd64.deb"))
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: want a directory with two packages, got %q, %v: make test-packages sets it", variable, all, err)
		}
		for _, from := range all {
			data, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			m.write(t, filepath.Join("debs", name, filepath.Base(from)), string(data))
		}
	}
}

// write writes a file of the machine's root.
func (m machine) write(t *testing.T, name, text string) {
	t.Helper()
	name = filepath.Join(m.Rootfs(), name)
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	err = errors.Join(err, os.RemoveAll(name), os.WriteFile(name, []byte(text), 0o644), os.Chown(name, idBase, idBase))
	if err != nil {
		t.Fatal(err)
	}
}

// do runs a command in the machine, which must succeed, and returns its stdout.
func (m machine) do(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := m.Ask(t.Context(), append(append([]string{"env"}, m.env...), argv...)...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// apt runs apt-get, which gets nothing from outside.
func (m machine) apt(t *testing.T, args ...string) string {
	t.Helper()
	return m.do(t, append([]string{"apt-get", "--yes", "-o", "Dpkg::Use-Pty=0"}, args...)...)
}

// install installs both packages of a version.
func (m machine) install(t *testing.T, version string) string {
	t.Helper()
	return m.apt(t, "install", "--allow-downgrades", "/debs/"+version+"/"+"felhom-agentd_"+versions[version]+"_amd64.deb",
		"/debs/"+version+"/"+"felhom-golden_"+versions[version]+"_amd64.deb")
}

// wantPaths looks for paths in the machine's root.
func (m machine) wantPaths(t *testing.T, when string, exist bool, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if _, err := os.Lstat(filepath.Join(m.Rootfs(), p)); (err == nil) != exist {
			t.Errorf("%s: %s: want it to exist: %t, got %v", when, p, exist, err)
		}
	}
}

func (m machine) property(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(m.do(t, "systemctl", "show", "--property="+name, "--value", "felhom-agentd"))
}

// command runs a program of this machine. A last word "<FILE" is its stdin.
func command(t *testing.T, argv ...string) string {
	t.Helper()
	c := run.Cmd{Path: argv[0], Args: argv[1:]}
	if file, ok := strings.CutPrefix(argv[len(argv)-1], "<"); ok {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		c.Args, c.Stdin = argv[1:len(argv)-1], f
	}
	res, err := run.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return string(res.Stdout)
}

func withLast(t *testing.T, address string, last byte) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(address)
	if err != nil || !a.Is4() {
		t.Fatalf("address of the bed: %q, %v", address, err)
	}
	b := a.As4()
	b[3] = last
	return netip.AddrFrom4(b)
}
