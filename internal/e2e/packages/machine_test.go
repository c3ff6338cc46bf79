//go:build packages

package packages_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/directory"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// included is what a machine has beside Debian's essential packages: systemd, apt, and what the packages depend on.
const included = "apt,systemd,systemd-sysv,dbus,iproute2,ca-certificates,mmdebstrap,debian-archive-keyring,lxc,uidmap"

// idBase is the user of the host that is root in a machine.
const idBase = 100000

// machine is a Debian with systemd, in an unprivileged guest.
type machine struct {
	guest.Guest
	address netip.Addr
}

// newMachine boots a Debian of the suite. It has the packages of both versions in /debs/old and /debs/new.
func newMachine(t *testing.T, suite string, last byte) machine {
	t.Helper()
	bed := testbed.FromEnv(t)
	m := machine{Guest: guest.Guest{VMID: testbed.VMIDs(t, 1)[0], Path: bed.LXCPath()}, address: withLast(t, bed.Address, last)}
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
	m.unpack(t, suite)
	m.write(t, "etc/systemd/network/eth0.network", fmt.Sprintf("[Match]\nName=eth0\n[Network]\nAddress=%s/24\nLinkLocalAddressing=no\n", m.address))
	m.write(t, "etc/resolv.conf", "")
	m.copyPackages(t)
	conf := fmt.Sprintf(`arch: amd64
features: keyctl=1,nesting=1
hostname: %s
net0: name=eth0,bridge=%s,type=veth
ostype: debian
rootfs: local-lvm:vm-%d-disk-0,size=1G
unprivileged: 1
`, suite, bed.Bridge, m.VMID)
	if err := os.WriteFile(filepath.Join(m.Dir(), "pct.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	// The driver writes it again at the start; liblxc knows no container without one.
	if err := os.WriteFile(filepath.Join(m.Dir(), "config"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d := lxc.New(lxc.Options{Path: m.Path, Storage: directory.New(m.Path)})
	if err := d.Start(t.Context(), m.VMID); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := d.Shutdown(ctx, m.VMID, 0); err != nil && !errors.Is(err, driver.ErrNotRunning) {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if _, err := m.Booted(ctx); err != nil {
		t.Fatal(err)
	}
	return m
}

// unpack makes the root file system. The mirror is the one of this machine's own apt.
func (m machine) unpack(t *testing.T, suite string) {
	t.Helper()
	uris := command(t, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
	mirror := ""
	for uri := range strings.FieldsSeq(uris) {
		if !strings.Contains(uri, "security") {
			mirror = uri
			break
		}
	}
	if mirror == "" {
		t.Fatal("this machine's apt has no archive of Debian")
	}
	tar := filepath.Join(m.Dir(), "root.tar")
	command(t, "unshare", "--mount", "mmdebstrap", "--mode=root", "--variant=minbase", "--quiet", "--skip=cleanup/apt",
		"--include="+included, "--customize-hook=systemctl --root=\"$1\" enable systemd-networkd",
		"--dpkgopt=path-exclude=/usr/share/doc/lxc*", suite, tar, mirror)
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
	out, err := m.Ask(t.Context(), append([]string{"env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"}, argv...)...)
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
