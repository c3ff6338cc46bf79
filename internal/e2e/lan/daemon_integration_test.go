//go:build integration

package lan_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/lan"
	"github.com/felhom/felhom-golden/internal/pin"
)

// The network of these tests: a host with its bridge, guests A and B on ports of
// it, C like a clone of A, and a machine behind the uplink.
const (
	hostAddress = "192.0.2.1"
	hostAddr6   = "2001:db8::1"
	port        = "8443"
	openPort    = "9443" // of another service: no rule may concern it

	patience = time.Minute
)

// identity is what a machine says that it is.
type identity struct {
	ip, ip6, mac string
}

var (
	asA   = identity{"192.0.2.10", "2001:db8::10", "bc:24:11:00:00:0a"}
	asB   = identity{"192.0.2.11", "2001:db8::11", "bc:24:11:00:00:0b"}
	asC   = identity{"192.0.2.12", "2001:db8::12", "bc:24:11:00:00:0c"}
	asLAN = identity{"192.0.2.50", "2001:db8::50", "02:00:00:00:00:01"}
)

// mixed is one with parts of another.
func (i identity) mixed(other identity, ip, mac bool) identity {
	if ip {
		i.ip, i.ip6 = other.ip, other.ip6
	}
	if mac {
		i.mac = other.mac
	}
	return i
}

type network struct {
	host, a, b, c, lan *lan.Namespace

	dir, config string
	logs        string
	binary      string
	boots       map[string]contract.Bootstrap
}

// binary is the daemon of this source, built once.
var binary = func() func(t *testing.T) string {
	var path string
	return func(t *testing.T) string {
		t.Helper()
		if path == "" {
			dir, err := os.MkdirTemp("", "lan")
			if err != nil {
				t.Fatal(err)
			}
			cleanups = append(cleanups, func() { _ = os.RemoveAll(dir) })
			// With the flags of "make build", whose packages are then taken from the cache.
			cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs", "-o", dir, "github.com/felhom/felhom-golden/agentd")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			path = filepath.Join(dir, "agentd")
		}
		return path
	}
}()

// newNetwork starts a daemon with more in its configuration. isFixed gives the
// guests their addresses by their configuration.
func newNetwork(t *testing.T, isFixed bool, more string) *network {
	t.Helper()
	dir, err := os.MkdirTemp("", "lan") // a short name, for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	n := &network{
		host: lan.NewNamespace(t), a: lan.NewNamespace(t), b: lan.NewNamespace(t), c: lan.NewNamespace(t), lan: lan.NewNamespace(t),
		dir: dir, config: filepath.Join(dir, "agentd.yaml"), logs: filepath.Join(dir, "log"), binary: binary(t), boots: map[string]contract.Bootstrap{},
	}
	n.host.Bridge(t, "vmbr0")
	n.host.Address(t, "vmbr0", hostAddress+"/24")
	n.host.Address(t, "vmbr0", hostAddr6+"/64")
	for _, m := range []struct {
		port string
		at   *lan.Namespace
		is   identity
		vmid string
	}{{"veth8200i0", n.a, asA, "8200"}, {"veth8201i0", n.b, asB, "8201"}, {"veth8202i0", n.c, asC, "8202"}, {"eno1", n.lan, asLAN, ""}} {
		n.host.Plug(t, "vmbr0", m.port, m.at, "eth0", m.is.mac)
		n.be(t, m.at, asLAN, m.is)
		if m.vmid == "" {
			continue
		}
		ip := "ip=dhcp,ip6=auto"
		if isFixed {
			ip = fmt.Sprintf("ip=%s/24,ip6=%s/64", m.is.ip, m.is.ip6)
		}
		n.configure(t, m.vmid, m.is.mac, ip, "")
	}
	for _, vmid := range []string{"8200", "8201", "8202"} { // lxc-info wants one
		write(t, filepath.Join(dir, "guests", vmid, "config"), "lxc.uts.name = g"+vmid+"\n")
	}
	write(t, n.config, fmt.Sprintf("host_id: demo\ncontroller_image: registry.example/felhom/controller:v1\nlisten: [%q, %q]\nhypervisor: lxc\nlxc: {path: %[3]s/guests}\n"+
		"state_dir: %[3]s/state\nmounts_dir: %[3]s/mounts\nhealth_socket: %[3]s/health.sock\n%[4]s", hostAddress+":"+port, "["+hostAddr6+"]:"+port, dir, more))
	for _, vmid := range []string{"8200", "8201", "8202"} {
		n.command(t, "guest", "add", vmid)
		n.reload(t, vmid)
	}
	n.start(t)
	n.listen(t)
	return n
}

// configure writes the configuration of a guest, with more in it, in one step.
func (n *network) configure(t *testing.T, vmid, mac, ip, more string) {
	t.Helper()
	file := filepath.Join(n.dir, "guests", vmid, "pct.conf")
	write(t, file+".new", fmt.Sprintf("arch: amd64\nhostname: g%s\nnet0: name=eth0,bridge=vmbr0,hwaddr=%s,%s,type=veth\nostype: debian\nrootfs: local:0\nunprivileged: 1\n%s",
		vmid, strings.ToUpper(mac), ip, more))
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// reload reads what the mount of a guest says now.
func (n *network) reload(t *testing.T, vmid string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(n.dir, "mounts", vmid, "bootstrap.json"))
	if err != nil {
		t.Fatal(err)
	}
	boot, findings := contract.Parse(data)
	if err := findings.Err(); err != nil {
		t.Fatal(err)
	}
	n.boots[vmid] = boot
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// be changes what a machine says that it is, and makes all forget what it said.
func (n *network) be(t *testing.T, at *lan.Namespace, old, now identity) {
	t.Helper()
	at.SetMAC(t, "eth0", now.mac)
	at.NoAddresses(t, "eth0")
	at.Address(t, "eth0", now.ip+"/24")
	at.Address(t, "eth0", now.ip6+"/64")
	at.Forget(t, "eth0")
	n.host.Forget(t, "vmbr0")
	_ = old
}

// command runs felhom-agentd on the host.
func (n *network) command(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := n.host.Do(func() error {
		cmd := exec.CommandContext(t.Context(), n.binary, append([]string{"--config", n.config}, args...)...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		return cmd.Run()
	})
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, stderr.String())
	}
	return stdout.String()
}

func (n *network) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(n.logs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(n.binary, "--config", n.config, "serve", "--log-format", "json")
	cmd.Stdout, cmd.Stderr = log, log
	// The thread that starts it ends with the namespace, after the daemon.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.host.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait(), log.Close()); err != nil {
			t.Errorf("the daemon: %v\n%s", err, n.log(t))
		}
	})
	healthy := host.Healthy(filepath.Join(n.dir, "health.sock"))
	n.until(t, "the daemon is healthy", func() error { return healthy(t.Context()) })
}

func (n *network) log(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(n.logs)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// until waits for a condition.
func (n *network) until(t *testing.T, what string, f func() error) {
	t.Helper()
	n.untilIn(t, patience, what, f)
}

func (n *network) untilIn(t *testing.T, limit time.Duration, what string, f func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if err = f(); err == nil {
			return
		}
		select {
		case <-t.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("not in %v: %s: %v\n%s", limit, what, err, n.log(t))
}

// listen serves openPort of the host.
func (n *network) listen(t *testing.T) {
	t.Helper()
	for _, address := range []string{hostAddress, hostAddr6} {
		var l net.Listener
		err := n.host.Do(func() (err error) {
			l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(address, openPort))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
	}
}

// dial connects from a machine, as one of its addresses.
func dial(from *lan.Namespace, source, address string, limit time.Duration) (c net.Conn, err error) {
	doErr := from.Do(func() error {
		local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(source), 0))
		c, err = (&net.Dialer{Timeout: limit, LocalAddr: local}).Dial("tcp", address)
		return nil
	})
	return c, errors.Join(doErr, err)
}

// reach waits until a machine reaches the open port: the network believes what
// the machine says that it is, and nothing but our rules can keep it away.
func (n *network) reach(t *testing.T, from *lan.Namespace, source, to string) {
	t.Helper()
	n.until(t, source+" reaches "+to, func() error {
		from.Forget(t, "eth0")
		c, err := dial(from, source, net.JoinHostPort(to, openPort), 300*time.Millisecond)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// ask sends GET path with a token. 0: there was no answer.
func (n *network) ask(t *testing.T, from *lan.Namespace, source, to, token, path string, limit time.Duration) (status int, body string) {
	t.Helper()
	client := http.Client{Timeout: limit, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: pin.ClientTLS(n.boots["8200"].LocalAPIPins),
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			return dial(from, source, address, limit)
		},
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+net.JoinHostPort(to, port)+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	data, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
}

// token returns the token of a guest.
func (n *network) token(vmid string) string { return n.boots[vmid].LocalAPIToken.Reveal() }

// certificates returns those that the daemon shows.
func (n *network) certificates(t *testing.T) (chain [][]byte) {
	t.Helper()
	c, err := dial(n.a, asA.ip, net.JoinHostPort(hostAddress, port), patience)
	if err != nil {
		t.Fatal(err)
	}
	s := tls.Client(c, pin.ClientTLS(n.boots["8200"].LocalAPIPins))
	if err := s.Handshake(); err != nil {
		t.Fatal(err)
	}
	for _, cert := range s.ConnectionState().PeerCertificates {
		chain = append(chain, cert.Raw)
	}
	return chain
}
