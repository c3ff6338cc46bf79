//go:build integration

package lan_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/lan"
	"github.com/felhom/felhom-golden/internal/pin"
)

// TestThreats has the rows of docs/security.md that need a network, by their
// names there.
func TestThreats(t *testing.T) {
	binary(t)
	t.Parallel()
	n := newNetwork(t, false, "origin: enforce\n")
	t.Run("rogue host answers on the address", n.rogueHost)
	t.Run("guest B uses guest A's token", func(t *testing.T) {
		n.stolen(t, n.b, asB)
		n.own(t)
	})
	t.Run("LAN host with stolen token", func(t *testing.T) {
		n.stolen(t, n.lan, asLAN)
		n.own(t)
	})
	t.Run("clone or rollback keeps a token", func(t *testing.T) {
		// A clone has A's mount at another VMID's port. With A's MAC as well, the bridge
		// may find either of them: for a time neither is believed.
		n.stolen(t, n.c, asC)
		n.own(t)
		n.clone(t)
		n.rollback(t)
	})
	t.Run("bootstrap token read by an earlier party", n.earlierParty)
	t.Run("guest reads another guest's storage", func(t *testing.T) {
		if status, body := n.ask(t, n.a, asA.ip, hostAddress, n.token("8200"), "/guests/8201/storage", patience); status != http.StatusForbidden || strings.Contains(body, "8201") {
			t.Errorf("%d %s, want 403", status, body)
		}
	})
	t.Run("guest B takes A's address while A is up", n.takenAddress)
	t.Run("the neighbour table loses A's entry again and again", n.lostEntry)
	t.Run("lock-out of A by B's failures", func(t *testing.T) {
		wrong := strings.TrimRight(n.token("8200"), "0123456789") + "x"
		for range 50 { // the routes' own test has 1,000
			if status, _ := n.ask(t, n.b, asB.ip, hostAddress, wrong, "/guest", patience); status != http.StatusUnauthorized && status != http.StatusTooManyRequests {
				t.Errorf("a wrong token is answered with %d", status)
			}
		}
		n.own(t)
	})
	t.Run("who used what", n.trail)
	t.Run("token in logs, argv, config.json, core", n.leaks)
}

// stolen uses A's token as a machine that does not pretend anything.
func (n *network) stolen(t *testing.T, at *lan.Namespace, is identity) {
	t.Helper()
	for _, path := range []string{"/guest", "/storage", "/guests/8200/storage", "/v2/", "/none"} {
		for source, to := range map[string]string{is.ip: hostAddress, is.ip6: hostAddr6} {
			if status, body := n.ask(t, at, source, to, n.token("8200"), path, patience); status != http.StatusForbidden || !strings.Contains(body, "wrong-origin") {
				t.Errorf("%s from %s: %d %s, want 403 wrong-origin", path, source, status, body)
			}
		}
	}
}

// own is what each guest gets meanwhile, by its own token.
func (n *network) own(t *testing.T) {
	t.Helper()
	for vmid, one := range map[string]struct {
		at *lan.Namespace
		is identity
	}{"8200": {n.a, asA}, "8201": {n.b, asB}, "8202": {n.c, asC}} {
		n.until(t, "guest "+vmid+" gets its own", func() error {
			if status, body := n.ask(t, one.at, one.is.ip, hostAddress, n.token(vmid), "/guest", 2*time.Second); status != http.StatusOK {
				return fmt.Errorf("%d %s", status, body)
			}
			return nil
		})
	}
}

// earlierParty: who read a mount before, as from a backup, has a token that ends
// when the guest uses the next one. Its use is an alarm, and others are served.
func (n *network) earlierParty(t *testing.T) {
	read := n.token("8200")
	n.command(t, "guest", "rotate", "8200")
	n.reload(t, "8200")
	n.use(t)
	for _, path := range []string{"/guest", "/storage", "/v2/"} {
		if status, body := n.ask(t, n.a, asA.ip, hostAddress, read, path, patience); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s, want 401", path, status, body)
		}
	}
	n.own(t)
	n.untilAudited(t, `"event":"ended-token-used"`)
}

func (n *network) untilAudited(t *testing.T, event string) {
	t.Helper()
	n.until(t, "the audit log has "+event, func() error {
		data, err := os.ReadFile(filepath.Join(n.dir, "state/audit/audit.log"))
		if err == nil && !strings.Contains(string(data), event) {
			err = errors.New("no line")
		}
		return err
	})
}

// use has A use its token, as its controller does.
func (n *network) use(t *testing.T) {
	t.Helper()
	n.until(t, "the guest uses its new token", func() error {
		if status, body := n.ask(t, n.a, asA.ip, hostAddress, n.token("8200"), "/storage", 2*time.Second); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}

// untilRenewed waits until the mount of A has another token than old.
func (n *network) untilRenewed(t *testing.T, old string) {
	t.Helper()
	n.until(t, "guest 8200 has a new token", func() error {
		if n.reload(t, "8200"); n.token("8200") == old {
			return errors.New("it has the token of before")
		}
		return nil
	})
}

// ended: a token is refused, also from its own guest's port.
func (n *network) ended(t *testing.T, tok string) {
	t.Helper()
	n.until(t, "the token of before is refused", func() error {
		if status, body := n.ask(t, n.a, asA.ip, hostAddress, tok, "/storage", patience); status != http.StatusUnauthorized {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}

// clone: another guest appears that has A's MAC, and so its disk. A gets a new
// token, whose first use ends the one that both have.
func (n *network) clone(t *testing.T) {
	old := n.token("8200")
	n.configure(t, "8203", asA.mac, "ip=dhcp", "")
	n.untilRenewed(t, old)
	n.untilAudited(t, `"event":"guest-copied","guest":8200`)
	n.use(t)
	n.ended(t, old)
	if status, body := n.ask(t, n.c, asC.ip, hostAddress, old, "/guest", patience); status != http.StatusUnauthorized {
		t.Errorf("the clone: %d %s, want 401", status, body)
	}
	n.untilAudited(t, `"event":"ended-token-used","guest":8200`)
	if err := os.RemoveAll(filepath.Join(n.dir, "guests/8203")); err != nil {
		t.Fatal(err)
	}
	n.own(t)
}

// rollback: the disk of A becomes one that has the token of before. That ends
// without another one being used.
func (n *network) rollback(t *testing.T) {
	const snapshots = "\n[first]\nrootfs: local:0\nsnaptime: 1700000000\n\n[second]\nparent: first\nrootfs: local:0\nsnaptime: 1700000100\n"
	n.configure(t, "8200", asA.mac, "ip=dhcp,ip6=auto", "parent: second\n"+snapshots)
	n.until(t, "the daemon has seen the snapshots", func() error {
		data, err := os.ReadFile(filepath.Join(n.dir, "state/lineage.json"))
		if err == nil && !strings.Contains(string(data), `"parent":"second"`) {
			err = errors.New("not yet")
		}
		return err
	})
	old := n.token("8200")
	n.configure(t, "8200", asA.mac, "ip=dhcp,ip6=auto", "parent: first\n"+snapshots)
	n.untilRenewed(t, old)
	n.ended(t, old)
	n.untilAudited(t, `"event":"guest-rolled-back","guest":8200`)
	n.own(t)
}

// rogueHost: a machine that answers in the host's place gets no request, not
// even with the host's certificate behind its own.
func (n *network) rogueHost(t *testing.T) {
	shown := n.certificates(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rogue"}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(asLAN.ip)}}
	own, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	for name, chain := range map[string][][]byte{"own certificate": {own}, "the host's certificate appended": append([][]byte{own}, shown...), "the host's certificate": shown} {
		var l net.Listener
		err := n.lan.Do(func() (err error) {
			l, err = net.Listen("tcp", net.JoinHostPort(asLAN.ip, "0")) // a port that was just closed can be open in a process that starts
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{ReadHeaderTimeout: patience, ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) })}
		ended := make(chan error, 1)
		go func() {
			ended <- server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{{Certificate: chain, PrivateKey: key}}}))
		}()
		c, err := dial(n.a, asA.ip, l.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		if err := tls.Client(c, pin.ClientTLS(n.boots["8200"].LocalAPIPins)).Handshake(); err == nil {
			t.Errorf("%s: the handshake succeeds", name)
		}
		_ = c.Close()
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}
	if requests.Load() != 0 {
		t.Errorf("the rogue got %d requests", requests.Load())
	}
}

// takenAddress: A is proven, then B takes its address. B gets nothing at any
// moment; A is asked to try again, and is served when B has stopped.
func (n *network) takenAddress(t *testing.T) {
	n.own(t)
	n.b.Address(t, "eth0", asA.ip+"/24")
	for range 3 {
		n.b.Forget(t, "eth0") // so that it asks, and the host hears of it
		_, _ = dial(n.b, asA.ip, net.JoinHostPort(hostAddress, openPort), 300*time.Millisecond)
		c, err := dial(n.b, asA.ip, net.JoinHostPort(hostAddress, port), 300*time.Millisecond)
		if err != nil {
			continue // A ends connections that it does not know
		}
		_ = c.Close()
		if status, body := n.ask(t, n.b, asA.ip, hostAddress, n.token("8200"), "/guest", time.Second); status == http.StatusOK {
			t.Errorf("B gets %s", body)
		}
		if status, _ := n.ask(t, n.a, asA.ip, hostAddress, n.token("8200"), "/guest", time.Second); status == http.StatusForbidden {
			t.Error("A is refused for good")
		}
	}
	n.b.NoAddress(t, "eth0", asA.ip+"/24")
	n.b.Forget(t, "eth0")
	n.own(t)
}

// lostEntry: the kernel removes A's entry, as it does with a full table, which
// all of this machine shares. A is served or asked to try again.
func (n *network) lostEntry(t *testing.T) {
	for range 20 {
		n.host.Forget(t, "vmbr0")
		if status, body := n.ask(t, n.a, asA.ip, hostAddress, n.token("8200"), "/guest", patience); status != http.StatusOK && status != http.StatusServiceUnavailable && status != 0 { // 0: the entry was needed for the answer
			t.Errorf("%d %s\n%s", status, body, n.log(t))
		}
	}
	n.own(t)
}

// trail: each refusal is in the audit log, which is whole, and in the counts.
func (n *network) trail(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(n.dir, "state/audit/audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"event":"elsewhere-denied"`, asB.ip, "port veth8201i0 of vmbr0", `"event":"other-guest-denied"`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the audit log has no %s", want)
		}
	}
	n.command(t, "audit", "verify")
	if !strings.Contains(n.log(t), "came from elsewhere than its guest, and was refused") {
		t.Error("the log has no refusal")
	}
}

// leaks: no token is anywhere but in its guest's mount. That the daemon writes no
// core is a line of its unit, which has a row of its own.
func (n *network) leaks(t *testing.T) {
	var secrets []string
	for _, boot := range n.boots {
		secrets = append(secrets, boot.LocalAPIToken.Reveal())
	}
	looked, own := 0, 0
	err := filepath.WalkDir(n.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a temporary file of the daemon, which is at work
		}
		looked++
		inMount, isMount := strings.CutPrefix(path, filepath.Join(n.dir, "mounts")+"/")
		vmid, _, _ := strings.Cut(inMount, "/")
		for _, s := range secrets {
			switch {
			case !strings.Contains(string(data), s):
			case isMount && s == n.token(vmid):
				own++
			default:
				t.Errorf("%s holds a token", path)
			}
		}
		return err
	})
	if err != nil || looked < 5 || own < len(secrets) {
		t.Errorf("looked at %d files, %v; %d tokens are in mounts, want %d or more", looked, err, own, len(secrets))
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range lines {
		data, _ := os.ReadFile(file) // a process may have ended
		if slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(string(data), s) }) {
			t.Errorf("%s holds a token", file)
		}
	}
}
