package seal_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/rules"
	"github.com/felhom/felhom-golden/golden/internal/seal"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/isolate"
)

const machineID = "0123456789abcdef0123456789abcdef\n"

// dirt is what one rule must take away: the files to plant, and what must be
// left of them ("" with gone: nothing).
func dirt() map[string]map[string]string {
	return map[string]map[string]string{
		"config-first":     {"etc/vzdump/pct.conf": "arch: amd64\n"},
		"machine-id":       {"etc/machine-id": machineID},
		"dbus-machine-id":  {"var/lib/dbus/machine-id": machineID},
		"ssh-host-keys":    {"etc/ssh/ssh_host_rsa_key": "x", "etc/ssh/ssh_host_rsa_key.pub": "x"},
		"ssh-access":       {"root/.ssh/authorized_keys": "x", "home/me/.ssh/id_rsa": "x"},
		"account-backups":  {"etc/passwd-": "x", "etc/gshadow-": "x"},
		"seeds":            {"var/lib/systemd/random-seed": "x", "var/lib/systemd/credential.secret": "x"},
		"engine-state":     {"var/lib/docker/engine-id": "x", "var/lib/containerd/io/meta.db": "x", "etc/docker/key.json": "x"},
		"tls-keys":         {"etc/ssl/private/ssl-cert-snakeoil.key": "x", "etc/ssl/certs/ssl-cert-snakeoil.pem": "x"},
		"credentials":      {"root/.docker/config.json": "x", "home/me/.netrc": "x", "etc/apt/auth.conf.d/a.conf": "x", "etc/apt/apt.conf.d/02proxy": "x"},
		"cluster-state":    {"var/lib/tailscale/tailscaled.state": "x"},
		"host-name":        {"etc/mailname": "buildhost\n"},
		"leases":           {"var/lib/dhcpcd/eth0.lease": "x", "var/lib/dhcp/dhclient.leases": "x", "etc/adjtime": "x"},
		"logs":             {"var/log/dpkg.log": "x", "var/log/apt/term.log": "x", "var/log/journal/0123/system.journal": "x"},
		"apt-caches":       {"var/lib/apt/lists/mirror_InRelease": "x", "var/cache/apt/pkgcache.bin": "x", "var/cache/apt/archives/a.deb": "x"},
		"unstable-caches":  {"var/cache/ldconfig/aux-cache": "x", "var/cache/debconf/config.dat-old": "x", "var/cache/man/index.db": "x"},
		"dpkg-backups":     {"var/lib/dpkg/status-old": "x", "var/backups/dpkg.status.0": "x"},
		"service-guards":   {"usr/sbin/policy-rc.d": "exit 101"},
		"scratch-folders":  {"tmp/.tmpfs": "x", "var/tmp/a/b": "x", "run/docker.pid": "1"},
		"home-residue":     {"root/.bash_history": "secret", "root/.cache/x": "x", "home/me/.lesshst": "x"},
		"builder-settings": {"etc/dpkg/dpkg.cfg.d/99mmdebstrap": "x", "packer-files/a": "x"},
		"editor-residue":   {"etc/fstab~": "x", "etc/a.dpkg-old": "x", "var/crash/x": "x", "usr/local/core.123": "x", "opt/.a.swp": "x"},
		"first-boot-stamp": {"var/lib/felhom/bootstrap-result.json": "{}", "etc/felhom-bootstrap/bootstrap.json": "{}"},
	}
}

// clean is what a sealed root has, and what seal must not touch.
func clean() map[string]string {
	return map[string]string{
		"etc/hosts":                "127.0.0.1\tlocalhost\n",
		"etc/hostname":             "localhost\n",
		"etc/resolv.conf":          "",
		"etc/machine-id":           "",
		"etc/shadow":               "root:*:20000:0:99999:7:::\n",
		"etc/passwd":               "root:x:0:0:root:/root:/bin/bash\n",
		"etc/ssh/sshd_config":      "Port 22\n",
		"etc/docker/daemon.json":   "{}\n",
		"root/.bashrc":             "# me\n",
		"usr/share/doc/a~":         "packages may ship such names\n",
		"var/lib/dpkg/status":      "",
		"var/lib/apt/extended":     "",
		"etc/apt/apt.conf.d/01own": "",
		"etc/core.d/core.conf":     "",
	}
}

func plant(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func newRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	plant(t, root, clean())
	if _, err := seal.Apply(t.Context(), root, seal.Options{}); err != nil {
		t.Fatal(err)
	}
	return root
}

func changesOf(r seal.Report, rule string) int {
	return len(slices.DeleteFunc(slices.Clone(r.Changes), func(c seal.Change) bool { return c.Rule != rule }))
}

func TestEachRuleTakesItsDirt(t *testing.T) {
	for rule, files := range dirt() {
		t.Run(rule, func(t *testing.T) {
			root := newRoot(t)
			plant(t, root, files)
			report, err := seal.Apply(t.Context(), root, seal.Options{Enable: []string{rule}})
			if err != nil {
				t.Fatal(err)
			}
			if changesOf(report, rule) == 0 || len(report.Changes) != changesOf(report, rule) {
				t.Errorf("changes %+v, want some, all of rule %s", report.Changes, rule)
			}
			for name := range files {
				if data, err := os.ReadFile(filepath.Join(root, name)); err == nil && len(data) > 0 {
					t.Errorf("%s still holds %q", name, data)
				}
			}
			again, err := seal.Apply(t.Context(), root, seal.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]seal.Change(nil), slices.DeleteFunc(again.Changes, func(c seal.Change) bool { return c.Rule != rule })); diff != "" {
				t.Errorf("the second run changed something (-want +got):\n%s", diff)
			}
			for name, want := range clean() {
				got, err := os.ReadFile(filepath.Join(root, name))
				if err != nil || string(got) != want {
					t.Errorf("%s: %q, %v; want it as it was: %q", name, got, err, want)
				}
			}
		})
	}
}

func TestRewrites(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // day 20454
	for _, tt := range []struct{ rule, file, in, want string }{
		{"passwords", "etc/shadow", "root::20781:0:99999:7:::\nme:$y$j9T$abc:20000::::::\nold:!$6$x$y:1::::::\nd:!*:1::::::\n", "root:*:20454:0:99999:7:::\nme:*:20000::::::\nold:*:1::::::\nd:!*:1::::::\n"},
		{"passwords", "etc/gshadow", "root:*::\nadm:$6$x$y::me\nu:::\n", "root:*::\nadm:!::me\nu:::\n"},
		{"passwords", "etc/passwd", "root:$1$a$b:0:0::/root:/bin/sh\n", "root:x:0:0::/root:/bin/sh\n"},
		{"host-name", "etc/hostname", "buildhost\n", "golden\n"},
		{"host-name", "etc/hosts", "# made by hand\n127.0.0.1 localhost buildhost\n127.0.1.1 buildhost.lan buildhost\n10.0.0.7 nas\nff02::1\tip6-allnodes\n", "127.0.0.1\tlocalhost\nff02::1\tip6-allnodes\n"},
		{"resolv-conf", "etc/resolv.conf", "nameserver 10.0.0.1\n", ""},
		{"machine-id", "etc/machine-id", machineID, "uninitialized\n"},
		{"unstable-caches", "var/cache/debconf/passwords.dat", "Name: x\n", ""},
		{"logs", "var/log/wtmp", "x", ""},
	} {
		t.Run(tt.rule+" "+tt.file, func(t *testing.T) {
			root := newRoot(t)
			plant(t, root, map[string]string{tt.file: tt.in})
			opts := seal.Options{Enable: []string{tt.rule}, Epoch: epoch, Hostname: "golden", MachineID: seal.MachineIDUninitialized}
			for range 2 {
				if _, err := seal.Apply(t.Context(), root, opts); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(filepath.Join(root, tt.file))
				if err != nil || string(got) != tt.want {
					t.Errorf("%q, %v; want %q", got, err, tt.want)
				}
			}
		})
	}
}

func TestNodesModesAndGuards(t *testing.T) {
	root := newRoot(t)
	plant(t, root, map[string]string{"usr/sbin/start-stop-daemon": "fake", "usr/sbin/start-stop-daemon.REAL": "real"})
	for name, mode := range map[string]uint32{"dev/null": unix.S_IFCHR, "opt/node": unix.S_IFBLK, "opt/fifo": unix.S_IFIFO, "opt/sock": unix.S_IFSOCK} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mknod(filepath.Join(root, name), mode|0o600, int(unix.Mkdev(1, 3))); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{".": 0o700, "etc": 0o775, "tmp": 0o755, "proc": 0o700} {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := seal.Apply(t.Context(), root, seal.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dev/null", "opt/node", "opt/fifo", "opt/sock", "usr/sbin/start-stop-daemon.REAL"} {
		if _, err := os.Lstat(filepath.Join(root, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want it gone", name, err)
		}
	}
	for name, want := range map[string]fs.FileMode{".": 0o755, "etc": 0o755, "tmp": 0o777 | fs.ModeSticky, "proc": 0o555, "var/tmp": 0o777 | fs.ModeSticky} {
		st, err := os.Lstat(filepath.Join(root, name))
		if err != nil || st.Mode()&^fs.ModeDir != want {
			t.Errorf("%s: %v %v, want mode %v", name, st, err, want)
		}
	}
	if got, _ := os.ReadFile(filepath.Join(root, "usr/sbin/start-stop-daemon")); string(got) != "real" {
		t.Errorf("start-stop-daemon holds %q, want the real one", got)
	}
	report, err := seal.Apply(t.Context(), root, seal.Options{})
	if err != nil || len(report.Changes) != 0 {
		t.Errorf("second run: %v, %v; want nothing", report.Changes, err)
	}
}

// A hostile or careless tree whose directories are links must not lead seal out.
func TestLinksDoNotLeadOut(t *testing.T) {
	outside := t.TempDir()
	plant(t, outside, map[string]string{"ssh_host_rsa_key": "outside", "authorized_keys": "outside", "a.log": "outside", "machine-id": "outside"})
	root := t.TempDir()
	plant(t, root, map[string]string{"etc/x": "", "usr/x": "", "var/x": "", "root/x": ""})
	for link, target := range map[string]string{"etc/ssh": outside, "root/.ssh": outside, "var/log": outside, "tmp": outside, "run": "../../..", "etc/machine-id": filepath.Join(outside, "machine-id"), "home": outside} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := seal.Apply(t.Context(), root, seal.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ssh_host_rsa_key", "authorized_keys", "a.log", "machine-id"} {
		if got, err := os.ReadFile(filepath.Join(outside, name)); err != nil || string(got) != "outside" {
			t.Errorf("outside %s: %q, %v; want it untouched", name, got, err)
		}
	}
	if st, err := os.Lstat(filepath.Join(root, "etc/machine-id")); err != nil || !st.Mode().IsRegular() {
		t.Errorf("etc/machine-id: %v, %v; want a regular file in place of the link", st, err)
	}
}

func TestRefuses(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	root := newRoot(t)
	plant(t, root, map[string]string{"root/.bash_history": "x"})
	mounted := filepath.Join(root, "proc")
	for _, tt := range []struct {
		name, root string
		opts       seal.Options
		want       fault.Kind
		text       string
	}{
		{"no root file system", t.TempDir(), seal.Options{}, fault.Invalid, "want a directory etc"},
		{"missing", filepath.Join(root, "none"), seal.Options{}, fault.Invalid, "no such file"},
		{"unknown rule", root, seal.Options{Skip: []string{"mashine-id"}}, fault.Misuse, `unknown rule "mashine-id"`},
		{"rule of verify only", root, seal.Options{Enable: []string{"id-range"}}, fault.Misuse, "seal does nothing"},
		{"both lists", root, seal.Options{Enable: []string{"logs"}, Skip: []string{"seeds"}}, fault.Misuse, "both"},
		{"machine id", root, seal.Options{MachineID: "x"}, fault.Misuse, "machine id"},
		{"host name", root, seal.Options{Hostname: "a b"}, fault.Misuse, "host name"},
		{"mount below", root, seal.Options{}, fault.Invalid, "is a mount point"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "mount below" {
				if err := unix.Mount("proc", mounted, "proc", 0, ""); err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := unix.Unmount(mounted, 0); err != nil {
						t.Error(err)
					}
				}()
			}
			_, err := seal.Apply(t.Context(), tt.root, tt.opts)
			if fault.Of(err) != tt.want || err == nil || !strings.Contains(err.Error(), tt.text) || fault.HintOf(err) == "" {
				t.Errorf("error %v (class %v, hint %q); want class %v, %q and a hint", err, fault.Of(err), fault.HintOf(err), tt.want, tt.text)
			}
		})
	}
	if _, err := os.Lstat(filepath.Join(root, "root/.bash_history")); err != nil {
		t.Errorf("a refused run changed the tree: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := seal.Apply(ctx, root, seal.Options{}); fault.Of(err) != fault.Interrupted {
		t.Errorf("cancelled: %v, want class interrupted", err)
	}
}

// Owner and mode of a rewritten file are Debian's, not the build machine's.
func TestRewriteKeepsOwner(t *testing.T) {
	root := newRoot(t)
	at := filepath.Join(root, "etc/shadow")
	plant(t, root, map[string]string{"etc/shadow": "root::1::::::\n"})
	if err := errors.Join(os.Chown(at, 0, 42), os.Chmod(at, 0o640)); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Apply(t.Context(), root, seal.Options{}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(at)
	if err != nil {
		t.Fatal(err)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); !ok || sys.Gid != 42 || st.Mode().Perm() != 0o640 {
		t.Errorf("shadow is %v gid %d, want 0640 and 42", st.Mode(), sys.Gid)
	}
}

// Every rule that says seal does something has a test here that saw it do so.
func TestEveryRuleIsCovered(t *testing.T) {
	elsewhere := []string{"parent-directories", "device-nodes", "sockets-and-fifos", "mount-points", "passwords", "resolv-conf"}
	planted := dirt()
	for _, r := range seal.Sealable() {
		if _, ok := planted[r.ID]; !ok && !slices.Contains(elsewhere, r.ID) {
			t.Errorf("rule %s has no sample", r.ID)
		}
	}
	for id := range planted {
		if r, ok := rules.ByID(id); !ok || r.Seal == "" {
			t.Errorf("sample for %s, which seal does nothing for", id)
		}
	}
}
