//go:build integration

package guest_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// bench is what the test has beside the bed: the product's programs and a
// daemon of the host.
type bench struct {
	bed    testbed.Bed
	dir    string // others may search it
	golden string
	agentd string
	host   *host.Host
}

// identity is what no two guests of one golden may share.
type identity map[string]string

var identityFiles = map[string]*regexp.Regexp{
	"etc/machine-id":                   regexp.MustCompile(`^[0-9a-f]{32}\n$`),
	"etc/ssh/ssh_host_ed25519_key.pub": regexp.MustCompile(`^ssh-ed25519 \S+ `),
	"etc/ssh/ssh_host_rsa_key.pub":     regexp.MustCompile(`^ssh-rsa \S+ `),
	"etc/ssh/ssh_host_ecdsa_key.pub":   regexp.MustCompile(`^ecdsa-sha2-nistp256 \S+ `),
	"var/lib/docker/engine-id":         regexp.MustCompile(`^[0-9a-f-]{36}$`),
}

// TestGoldenBoots bakes the default golden with an SSH server, boots two guests
// of it, and sees the host's bootstrap.json become a healthy controller in each.
func TestGoldenBoots(t *testing.T) {
	b := newBench(t)
	archive := b.bake(t)
	guests := map[string]*guest.Guest{}
	addresses := map[string]netip.Addr{}
	for i, vmid := range []string{"8200", "8201"} {
		address := b.address(t, byte(200+i))
		guests[vmid], addresses[vmid] = b.restore(t, archive, vmid, address), address.Addr()
	}
	found := map[string]identity{}
	var mu sync.Mutex
	t.Run("guests", func(t *testing.T) {
		for vmid, g := range guests {
			t.Run(vmid, func(t *testing.T) {
				t.Parallel()
				checkNoIdentity(t, g)
				if err := g.Start(); err != nil {
					t.Fatal(err)
				}
				checkBooted(t, g)
				checkEngine(t, b.bed, g)
				checkNetwork(t, vmid, addresses[vmid])
				id := identityOf(t, g)
				mu.Lock()
				defer mu.Unlock()
				found[vmid] = id
			})
		}
	})
	for file := range identityFiles {
		if found["8200"][file] == found["8201"][file] {
			t.Errorf("two guests of one golden have the same %s: %q", file, found["8200"][file])
		}
	}
	b.checkList(t, "8200", "8201")
	for vmid, g := range guests {
		if err := g.Stop(t.Context()); err != nil {
			t.Errorf("guest %s: %v", vmid, err)
		}
	}
	if left, err := filepath.Glob("/sys/fs/cgroup/*/lxc.*" + filepath.Base(b.dir) + "*"); err != nil || len(left) > 0 {
		t.Errorf("cgroups left behind: %v %v", left, err)
	}
}

// newBench builds the programs and starts the daemon.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{bed: testbed.FromEnv(t)}
	if err := testbed.Require(t.Context(), os.Stderr, "lxc-start", "newuidmap", "mmdebstrap", "nsenter"); err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its folder is closed, and the guest's root is nobody here.
	dir, err := os.MkdirTemp("", "felhom-guest-")
	if err != nil {
		t.Fatal(err)
	}
	b.dir = dir
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	programs := filepath.Join(dir, "programs")
	for name, folder := range map[string]string{"felhom-golden": "golden", "felhom-agentd": "agentd", "felhom-controller-bootstrap": "bootstrapper"} {
		// As in the Makefile, so that nothing but the source decides the bytes
		// and the cached base of the last run still fits.
		command(t, run.Cmd{
			Path: "go", Env: append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="),
			Args: []string{
				"build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs", "-ldflags", "-s -w -buildid=",
				"-o", filepath.Join(programs, name), "github.com/felhom/felhom-golden/" + folder,
			},
		})
	}
	b.golden, b.agentd = filepath.Join(programs, "felhom-golden"), filepath.Join(programs, "felhom-agentd")
	if err := os.MkdirAll(filepath.Join(dir, "guests"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.host, err = host.Start(t.Context(), b.bed, host.Settings{Binary: b.agentd, Dir: dir, Image: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.host.Log())
		}
		if err := b.host.Stop(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// bake builds the archive. The registry's certificate is laid over, not part of
// the cached base: each bed has its own.
func (b *bench) bake(t *testing.T) string {
	t.Helper()
	recipe := filepath.Join(b.dir, "golden.yaml")
	text := fmt.Sprintf("version: 1\npackages: {include: [openssh-server]}\nfiles:\n  - {path: \"/etc/docker/certs.d/%s/ca.crt\", source: %q}\n",
		b.bed.Registry, b.bed.CAFile)
	if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out := command(t, run.Cmd{Path: b.golden, Args: []string{"build", "--recipe", recipe, "--compression", "fast", "--out", b.dir}})
	return strings.TrimSpace(out)
}

// restore makes a guest that the host knows, with the host's folder mounted.
func (b *bench) restore(t *testing.T, archive, vmid string, address netip.Prefix) *guest.Guest {
	t.Helper()
	command(t, run.Cmd{Path: b.agentd, Args: []string{"--config", b.host.Config, "guest", "add", vmid}})
	g, err := guest.Restore(t.Context(), guest.Settings{
		Name: filepath.Base(b.dir) + "-" + vmid, Dir: filepath.Join(b.dir, "guests", vmid),
		Golden: b.golden, Archive: archive,
		Bridge: b.bed.Bridge, Address: address, ConfigMount: b.host.Mount(vmid),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(g.Console())
		}
		if err := g.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// address is the bed's network with the last byte changed.
func (b *bench) address(t *testing.T, last byte) netip.Prefix {
	t.Helper()
	bridge, err := net.InterfaceByName(b.bed.Bridge)
	if err != nil {
		t.Fatal(err)
	}
	all, err := bridge.Addrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().String() != b.bed.Address {
			continue
		}
		bytes := p.Addr().As4()
		bytes[3] = last
		return netip.PrefixFrom(netip.AddrFrom4(bytes), p.Bits())
	}
	t.Fatalf("bridge %s has no address %s", b.bed.Bridge, b.bed.Address)
	return netip.Prefix{}
}

// checkList wants the run of every guest to have reached its end.
func (b *bench) checkList(t *testing.T, vmids ...string) {
	t.Helper()
	out := command(t, run.Cmd{Path: b.agentd, Args: []string{"--config", b.host.Config, "guest", "list"}})
	for _, vmid := range vmids {
		if !regexp.MustCompile(`(?m)^` + vmid + ` +used +run +done +changed `).MatchString(out) {
			t.Errorf("guest %s: want token used and run done, found:\n%s", vmid, out)
		}
	}
}

// checkNoIdentity wants what is told apart later to be made by the boot.
func checkNoIdentity(t *testing.T, g *guest.Guest) {
	t.Helper()
	for file, form := range identityFiles {
		data, err := os.ReadFile(filepath.Join(g.Rootfs(), file))
		if err == nil && form.Match(data) {
			t.Errorf("the golden brings %s: %q", file, data)
		}
	}
}

func identityOf(t *testing.T, g *guest.Guest) identity {
	t.Helper()
	id := identity{}
	for file, form := range identityFiles {
		data, err := os.ReadFile(filepath.Join(g.Rootfs(), file))
		if err != nil || !form.Match(data) {
			t.Errorf("%s: want %s, found %q %v", file, form, data, err)
		}
		// Not the comment, which is the host name.
		id[file] = string(bytes.Join(bytes.Fields(data)[:min(2, len(bytes.Fields(data)))], []byte(" ")))
	}
	return id
}

// checkBooted wants a system with no failed unit at all: those that fail in
// every guest are masked in the golden.
func checkBooted(t *testing.T, g *guest.Guest) {
	t.Helper()
	// A boot takes 3 s here; 120 s were lost where presets enabled networkd.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	state, err := g.Booted(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if state != "running" {
		failed, err := g.Ask(ctx, "systemctl", "--no-pager", "--failed")
		t.Errorf("want state running, found %s: %v\n%s", state, err, failed)
	}
	for unit, want := range map[string]string{
		"multi-user.target":                "active",
		"docker.service":                   "success active",
		"ssh.service":                      "success active",
		"felhom-controller-bootstrap.path": "success active",
		// A oneshot without RemainAfterExit.
		"felhom-controller-bootstrap.service": "success inactive",
	} {
		out, err := g.Ask(ctx, "systemctl", "show", "--property=ActiveState,Result", "--value", unit)
		if got := strings.Join(strings.Fields(out), " "); got != want {
			t.Errorf("%s: want %s, found %q %v", unit, want, got, err)
		}
	}
}

// checkEngine asks the guest's own engine, on its socket.
func checkEngine(t *testing.T, bed testbed.Bed, g *guest.Guest) {
	t.Helper()
	socket, err := g.Socket(t.Context(), "run/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	engine := testbed.NewEngine("unix://" + socket)
	defer engine.Close()
	version, _, err := engine.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("engine %s", version)
	c, err := engine.Inspect(t.Context(), "felhom-controller")
	if err != nil {
		journal, _ := g.Ask(t.Context(), "journalctl", "--no-pager", "--boot", "--unit", "felhom-controller-bootstrap")
		t.Fatalf("%v\n%s", err, journal)
	}
	if c.State.Health == nil || c.State.Health.Status != "healthy" || c.RestartCount != 0 {
		t.Errorf("want a healthy controller that never restarted, found %+v, restarts %d", c.State, c.RestartCount)
	}
	if image, err := bed.Image("v1"); err != nil || c.Config.Image != image.Reference {
		t.Errorf("want image %s, found %s %v", image.Reference, c.Config.Image, err)
	}
}

// checkNetwork talks to the guest from this machine.
func checkNetwork(t *testing.T, vmid string, address netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(address.String(), "8080")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	for _, want := range []string{"mode:     configured\n", "storage:  200 OK {", `"guest":` + vmid} {
		if err != nil || !strings.Contains(string(page), want) {
			t.Errorf("the controller's page: want %q in it, found %v\n%s", want, err, page)
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(address.String(), "22"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	banner := make([]byte, 8)
	if _, err := io.ReadFull(conn, banner); err != nil || string(banner) != "SSH-2.0-" {
		t.Errorf("the SSH server says %q %v", banner, err)
	}
}

// command runs a command that must succeed and returns its stdout.
func command(t *testing.T, c run.Cmd) string {
	t.Helper()
	res, err := run.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return string(res.Stdout)
}
