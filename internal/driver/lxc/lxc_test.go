package lxc

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/e2e/tiny"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/unpack"
)

const archived = `#golden
arch: amd64
cores: 2
features: keyctl=1,nesting=1
hostname: golden
memory: 2048
mp0: local:vm-9100-disk-1,mp=/data,size=8G
net0: name=eth0,bridge=vmbr0,ip=dhcp,type=veth
onboot: 1
rootfs: local-lvm:vm-9100-disk-0,size=8G
swap: 512
unprivileged: 1
`

func parse(t *testing.T, text string) *pctconf.Config {
	t.Helper()
	c, findings := pctconf.Parse([]byte(text))
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	return c
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestLXCConfig holds the whole of what liblxc is given, on a host with
// AppArmor and the unified hierarchy.
func TestLXCConfig(t *testing.T) {
	sys := t.TempDir()
	write(t, filepath.Join(sys, "kernel/security/apparmor/features/x"), "")
	write(t, filepath.Join(sys, "fs/cgroup/cgroup.controllers"), "cpu memory pids\n")
	d := New(Options{Path: "/srv/guests", SysDir: sys, ConfigDir: "/usr/share/lxc/config"})
	c, err := applySpec(parse(t, archived), driver.Spec{
		Hostname: "web.example", Net: driver.Net{Bridge: "br0", VLAN: 7, IP: pctconf.Fixed(netip.MustParsePrefix("192.0.2.7/24"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := settings{Config: c}
	s.set("mp0", driver.Mount{Source: "/srv/a b#c", Target: "/etc/felhom-bootstrap", ReadOnly: true}.String())
	net, err := netOf(c)
	if err := errors.Join(s.err, err); err != nil {
		t.Fatal(err)
	}
	got, err := d.lxcConfig(8200, c)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/config.want")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Replace(string(want), "MAC", net.MAC, 1), got); d != "" {
		t.Errorf("want -, got +:\n%s", d)
	}
}

// TestLXCConfigOfAPlainHost: liblxc refuses to start a guest with a limit that
// the host cannot set.
func TestLXCConfigOfAPlainHost(t *testing.T) {
	got, err := New(Options{Path: "/srv/guests", SysDir: t.TempDir()}).lxcConfig(8200, parse(t, archived))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, "cgroup2") || !strings.Contains(got, "lxc.apparmor.profile = unconfined\n") {
		t.Errorf("no controller and no AppArmor, got\n%s", got)
	}
}

func TestSpecDropsWhatBelongsElsewhere(t *testing.T) {
	c, err := applySpec(parse(t, archived+"lock: backup\ntemplate: 1\n"), driver.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"mp0", "lock", "template"} {
		if value, ok := c.Get(key); ok {
			t.Errorf("%s: %s came along", key, value)
		}
	}
	net, err := netOf(c)
	if err != nil || !strings.HasPrefix(net.MAC, "BC:24:11:") || net.Bridge != "vmbr0" {
		t.Errorf("net0 is %+v, %v, want the archive's bridge and a fresh MAC", net, err)
	}
}

func TestIDMap(t *testing.T) {
	usual := unpack.Range{Guest: 0, Host: 100000, Count: 65536}
	cases := []struct {
		name, conf string
		want       unpack.IDMap
		wantErr    string
	}{
		{"usual", "unprivileged: 1\n", unpack.IDMap{UIDs: []unpack.Range{usual}, GIDs: []unpack.Range{usual}}, ""},
		{"own", "lxc.idmap: u 0 200000 65536\nlxc.idmap: g 0 300000 65536\n", unpack.IDMap{
			UIDs: []unpack.Range{{Guest: 0, Host: 200000, Count: 65536}}, GIDs: []unpack.Range{{Guest: 0, Host: 300000, Count: 65536}},
		}, ""},
		{"privileged", "", unpack.IDMap{}, "unprivileged is not 1"},
		{"no number", "lxc.idmap: u 0 x 65536\n", unpack.IDMap{}, "want u or g, the guest's first id"},
		{"other letter", "lxc.idmap: x 0 1 65536\n", unpack.IDMap{}, "want u or g"},
		{"root of this host", "lxc.idmap: u 0 0 65536\nlxc.idmap: g 0 100000 65536\n", unpack.IDMap{}, "u 0 0 65536: the ids of this host below 65536"},
		{"group of this host", "lxc.idmap: u 0 100000 65536\nlxc.idmap: g 0 100000 44\nlxc.idmap: g 44 44 1\nlxc.idmap: g 45 100045 65491\n", unpack.IDMap{}, "g 44 44 1: the ids"},
		{"overlap", "lxc.idmap: u 1000 100999 64536\nlxc.idmap: u 0 100000 1000\nlxc.idmap: g 0 100000 65536\n", unpack.IDMap{}, "id 100999 of this host is mapped already"},
		{"side by side", "lxc.idmap: u 1000 101000 64536\nlxc.idmap: u 0 100000 1000\nlxc.idmap: g 0 100000 65536\n", unpack.IDMap{
			UIDs: []unpack.Range{{Guest: 1000, Host: 101000, Count: 64536}, {Guest: 0, Host: 100000, Count: 1000}}, GIDs: []unpack.Range{usual},
		}, ""},
		{"incomplete", "lxc.idmap: u 0 100000 65535\nlxc.idmap: g 0 100000 65536\n", unpack.IDMap{}, "user id 65535 is mapped not at all"},
		{"users alone", "lxc.idmap: u 0 100000 65536\n", unpack.IDMap{}, "group id 0 is mapped not at all"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := idMap(parse(t, c.conf))
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Errorf("error %v, want %q", err, c.wantErr)
				}
				return
			}
			if d := cmp.Diff(c.want, got); err != nil || d != "" {
				t.Errorf("%v\n%s", err, d)
			}
		})
	}
}

// TestArchiveWithTheHostsIDs is refused before anything is written.
func TestArchiveWithTheHostsIDs(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "vzdump-lxc-9100-2026_01_01-00_00_00.tar.zst")
	if err := tiny.Write(t.Context(), archive, tiny.Config()+"lxc.idmap: u 0 0 65536\nlxc.idmap: g 0 0 65536\n"); err != nil {
		t.Fatal(err)
	}
	d := New(Options{Path: filepath.Join(dir, "guests"), SysDir: dir})
	for what, err := range map[string]error{
		"check":   d.checkArchive(t.Context(), driver.Spec{Archive: archive}),
		"restore": d.Restore(t.Context(), 8200, driver.Spec{Archive: archive}, nil),
	} {
		if !errors.Is(err, driver.ErrArchive) || fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "its own users'") {
			t.Errorf("%s: error %v, want ErrArchive for the ids", what, err)
		}
	}
	if _, err := os.Lstat(d.dir(8200)); err == nil {
		t.Error("the guest was made")
	}
}

func TestCheckSubIDs(t *testing.T) {
	ids, err := idMap(parse(t, "unprivileged: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	for text, good := range map[string]bool{
		"root:100000:65536\n":           true,
		"u:1:2\nroot:99000:70000\n":     true,
		"0:100000:65536\n":              true,
		"":                              false,
		"root:100000:65535\n":           false,
		"root:100001:65536\n":           false,
		"other:100000:65536\n":          false,
		"root:100000\nroot:x:65536\n\n": false,
	} {
		file := filepath.Join(t.TempDir(), "subid")
		write(t, file, text)
		list, err := subIDs(file, isRoot)
		if err != nil || list.covers(ids.UIDs[0]) != good {
			t.Errorf("%q covers the guest's ids: %v, %v, want %v", text, !good, err, good)
		}
	}
}

// TestCheckPath: liblxc says no more than "Permission denied".
func TestCheckPath(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	err := New(Options{Path: filepath.Join(dir, "guests")}).checkPath()
	if err == nil || !strings.Contains(err.Error(), dir+" has mode 0700") || fault.HintOf(err) != "chmod o+x "+dir {
		t.Errorf("error %v, hint %q", err, fault.HintOf(err))
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := New(Options{Path: filepath.Join(dir, "guests")}).checkPath(); err != nil {
		t.Error(err)
	}
}

// TestAnotherContainersDirectory is not taken for a guest, nor for nothing.
func TestAnotherContainersDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "8200/config"), "lxc.uts.name = other\n")
	_, err := New(Options{Path: dir}).Guest(t.Context(), 8200)
	if !errors.Is(err, driver.ErrExists) {
		t.Errorf("error %v, want ErrExists", err)
	}
}

func TestParseInfo(t *testing.T) {
	cases := []struct {
		name, text, state string
		pid               int
		ok                bool
	}{
		{"running", "State: RUNNING\nPID: 12\n", "RUNNING", 12, true},
		{"starting", "State: STARTING\nPID: 12\n", "STARTING", 12, true},
		{"stopped", "State: STOPPED\n", "STOPPED", 0, true},
		{"stopping without init", "State: STOPPING\n", "STOPPING", 0, false},
		{"nothing", "", "", 0, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if state, pid, ok := parseInfo(c.text); state != c.state || pid != c.pid || ok != c.ok {
				t.Errorf("%s, %d, %v, want %s, %d, %v", state, pid, ok, c.state, c.pid, c.ok)
			}
		})
	}
}

// TestInGuestOfThisHost: a process without a mount namespace of its own is not the
// init of a guest.
func TestInGuestOfThisHost(t *testing.T) {
	err := New(Options{Path: t.TempDir()}).inGuest(t.Context(), 8200, os.Getpid(), func() error {
		t.Error("work ran in this host's mount namespace")
		return nil
	})
	if !errors.Is(err, driver.ErrBusy) || fault.Of(err) != fault.Busy {
		t.Errorf("error %v, want ErrBusy", err)
	}
}

// TestOnThread: the main thread is not spent.
func TestOnThread(t *testing.T) {
	for range 50 {
		if err := onThread(func() error {
			if unix.Gettid() == unix.Getpid() {
				return errors.New("work runs on the main thread")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClaimComesFirst: what another command makes of the guest meanwhile is
// not decided on, but a look needs no claim.
func TestClaimComesFirst(t *testing.T) {
	d := New(Options{Path: t.TempDir()})
	if err := os.Mkdir(d.partialDir(8200), 0o700); err != nil {
		t.Fatal(err)
	}
	release, err := d.claim(8200)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		err  error
	}{
		{"start", d.Start(t.Context(), 8200)},
		{"shutdown", d.Shutdown(t.Context(), 8200, 0)},
		{"destroy", d.Destroy(t.Context(), 8200)},
		{"detach", d.Detach(t.Context(), 8200, "/mnt")},
		{"discard", d.Discard(t.Context(), 8200, "")},
	} {
		if !errors.Is(c.err, driver.ErrBusy) || fault.Of(c.err) != fault.Busy {
			t.Errorf("%s: error %v, want ErrBusy", c.what, c.err)
		}
	}
	if g, err := d.Guest(t.Context(), 8200); err != nil || !g.Partial {
		t.Errorf("a look shows %+v, %v, want the partial guest", g, err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), 8200); !errors.Is(err, driver.ErrPartial) {
		t.Errorf("start after it: error %v, want ErrPartial", err)
	}
}

// TestPlaceOf: a directory that is gone has the place that it had.
func TestPlaceOf(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b/c")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	before, err := placeOf(dir)
	if err != nil || !strings.HasSuffix(before.path, "/a b/c") {
		t.Errorf("%v, %v", before, err)
	}
	if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
		t.Fatal(err)
	}
	if after, err := placeOf(dir); err != nil || after != before {
		t.Errorf("%v, %v, want %v", after, err, before)
	}
}

// TestPopulatedCgroup: no part of a cgroup in which a process runs is removed.
func TestPopulatedCgroup(t *testing.T) {
	root := t.TempDir()
	inner := filepath.Join(root, "lxc.payload.8200/empty")
	write(t, filepath.Join(root, "lxc.payload.8200/cgroup.events"), "populated 1\nfrozen 0\n")
	idle := filepath.Join(root, "lxc.monitor.8200/empty")
	if err := errors.Join(os.Mkdir(inner, 0o755), os.MkdirAll(idle, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := removeCgroups(root, 8200); !errors.Is(err, unix.EBUSY) {
		t.Errorf("error %v, want EBUSY", err)
	}
	if _, err := os.Lstat(inner); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Dir(idle)); err == nil {
		t.Error("the idle one is still there")
	}
}

// A lock for each VMID that was ever tried must not stay beside the guests.
func TestLocksLeaveNothing(t *testing.T) {
	d := New(Options{Path: filepath.Join(t.TempDir(), "guests")})
	for vmid := range 3 {
		release, err := d.claim(8200 + vmid)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.claim(8200 + vmid); !errors.Is(err, driver.ErrBusy) || fault.Of(err) != fault.Busy {
			t.Errorf("second claim: error %v of kind %v, want %v", err, fault.Of(err), driver.ErrBusy)
		}
		if err := release(); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(d.o.Path); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
