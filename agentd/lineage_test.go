package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// ancestor is a guest that has used its token, on a host with liblxc.
type ancestor struct {
	*bed
	guests string
	old    contract.Bootstrap
}

// newLXCBed configures a host with liblxc. It has no guest yet.
func newLXCBed(t *testing.T) ancestor {
	t.Helper()
	b := newBed(t)
	a := ancestor{bed: b, guests: filepath.Join(b.dir, "guests")}
	appendTo(t, b.config, fmt.Sprintf("hypervisor: lxc\nlxc: {path: %s}\n", a.guests))
	return a
}

func newAncestor(t *testing.T) ancestor {
	t.Helper()
	a := newLXCBed(t)
	b := a.bed
	a.conf(t, "8200", "0a", "parent: second\n")
	a.old = b.add(t, "8200")
	killed := filepath.Join(b.dir, "state", "."+lineageFile+".ABCDEFGH.tmp")
	if err := os.WriteFile(killed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.startProcess(t)
	a.ask(t, a.old, http.StatusOK)
	// The daemon has seen the guest as it is.
	until(t, b, "the guest is known", func() bool {
		data, err := os.ReadFile(filepath.Join(b.dir, "state", lineageFile))
		return err == nil && strings.Contains(string(data), `"8200"`)
	})
	if _, err := os.Lstat(killed); !os.IsNotExist(err) {
		t.Errorf("the file of a killed daemon stays: %v", err)
	}
	return a
}

// conf writes the configuration of a guest with two snapshots.
func (a ancestor) conf(t *testing.T, vmid, mac, more string) {
	t.Helper()
	dir := filepath.Join(a.guests, vmid)
	if err := os.MkdirAll(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := "arch: amd64\nhostname: g\nnet0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:" + mac + ",ip=dhcp,type=veth\nostype: debian\nrootfs: local:0\nunprivileged: 1\n" + more +
		"\n[first]\nrootfs: local:0\nsnaptime: 1700000000\n\n[second]\nparent: first\nrootfs: local:0\nsnaptime: 1700000100\n"
	for name, content := range map[string]string{"pct.conf": text, "config": "lxc.uts.name = g\n"} {
		temporary := filepath.Join(dir, "."+name)
		if err := os.WriteFile(temporary, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func (a ancestor) ask(t *testing.T, boot contract.Bootstrap, want int) {
	t.Helper()
	if status, body := a.do(t, client(t, a.old), http.MethodGet, contract.PathStorage, boot.LocalAPIToken.Reveal(), ""); status != want {
		t.Errorf("%d %s, want %d", status, body, want)
	}
}

func (a ancestor) untilRenewed(t *testing.T) contract.Bootstrap {
	t.Helper()
	until(t, a.bed, "the mount has a new token", func() bool { return a.mounted(t, "8200").LocalAPIToken.Reveal() != a.old.LocalAPIToken.Reveal() })
	return a.mounted(t, "8200")
}

// untilEnded asks with the old token until it is refused; not often, because a
// refusal ends the connection and new ones are limited.
func (a ancestor) untilEnded(t *testing.T) {
	t.Helper()
	c := client(t, a.old)
	for deadline := time.Now().Add(patience); ; <-time.After(time.Second) {
		status, body := a.do(t, c, http.MethodGet, contract.PathStorage, a.old.LocalAPIToken.Reveal(), "")
		if status == http.StatusUnauthorized {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the old token is answered with %d %s\n%.4000s", status, body, a.logs)
		}
	}
}

func (a ancestor) untilAudited(t *testing.T, event string) {
	t.Helper()
	until(t, a.bed, "the audit log has "+event, func() bool {
		data, err := os.ReadFile(filepath.Join(a.dir, "state/audit/audit.log"))
		return err == nil && strings.Contains(string(data), `"event":"`+event+`"`)
	})
	a.command(t, "audit", "verify")
}

// A guest that is rolled back has a disk with a token of before: it ends at once,
// without a later one being used first, and the mount has another.
func TestARollbackEndsTokens(t *testing.T) {
	t.Parallel()
	a := newAncestor(t)
	a.conf(t, "8200", "0a", "parent: first\n")
	fresh := a.untilRenewed(t)
	a.untilEnded(t)
	a.ask(t, fresh, http.StatusOK)
	a.untilAudited(t, "guest-rolled-back")
	a.untilAudited(t, "ended-token-used")
}

// The same for a guest whose disk was replaced, and which has no mount any more
// that could get a new token.
func TestAnotherDiskEndsTokens(t *testing.T) {
	t.Parallel()
	a := newAncestor(t)
	if err := os.RemoveAll(filepath.Join(a.dir, "mounts/8200")); err != nil {
		t.Fatal(err)
	}
	rootfs := filepath.Join(a.guests, "8200/rootfs")
	if err := os.Mkdir(rootfs+".new", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(rootfs); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(rootfs+".new", rootfs); err != nil {
		t.Fatal(err)
	}
	a.untilEnded(t)
	a.untilAudited(t, "guest-replaced")
}

// A copy has the guest's token on its disk: the guest gets another, and the first
// use of that ends the one that both have.
func TestACopyEndsTokens(t *testing.T) {
	t.Parallel()
	a := newAncestor(t)
	a.conf(t, "8300", "0a", "")
	fresh := a.untilRenewed(t)
	a.ask(t, a.old, http.StatusOK) // the guest itself runs, and has done nothing
	a.ask(t, fresh, http.StatusOK)
	a.ask(t, a.old, http.StatusUnauthorized)
	a.untilAudited(t, "guest-copied")
	a.ask(t, fresh, http.StatusOK)
}

// A file system that is not there at the moment is not a host without guests: when
// it is back, all of them would be taken for new ones.
func TestGuestsThatCannotBeSeenAreNotGone(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "8200.conf"), filepath.Join(dir, "8200.conf")); err != nil {
		t.Fatal(err) // every look at it fails
	}
	if got, err := configurations(dir, ".conf", ""); err != nil || len(got) != 1 {
		t.Errorf("listed, and not to be looked at: %v, %v", got, err)
	}
	for name, prepare := range map[string]func(dir string) error{
		"mount point without its file system": func(string) error { return nil },
		"cannot be looked at": func(dir string) error {
			return os.Symlink(filepath.Join(dir, "8200"), filepath.Join(dir, "8200"))
		},
	} {
		dir := t.TempDir()
		if err := prepare(dir); err != nil {
			t.Fatal(err)
		}
		if got, err := configurations(dir, "", "pct.conf"); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}
