//go:build packages

package packages_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/guest"
)

// versions are those of the directories; "make test-packages" makes both from the same sources. The new one is that of
// docs/quickstart.md.
var versions = map[string]string{"old": "0.1.0", "new": "0.2.0"}

const vmid = "8200"

// state is what an upgrade and a removal keep, and a purge removes.
var state = []string{
	"etc/felhom/agentd.yaml", "etc/felhom/agentd.yaml.example", "etc/felhom/registry-token", "var/lib/felhom-agentd/tls",
	"var/lib/felhom-agentd/guests", "var/lib/felhom/mounts/" + vmid + "/bootstrap.json",
}

// shipped is what a removal removes.
var shipped = []string{
	"usr/sbin/felhom-agentd", "usr/lib/systemd/system/felhom-agentd.service", "usr/share/man/man8/felhom-agentd.8.gz",
	"usr/share/bash-completion/completions/felhom-agentd", "usr/share/zsh/vendor-completions/_felhom-agentd",
	"usr/share/fish/vendor_completions.d/felhom-agentd.fish", "usr/bin/felhom-golden",
	"usr/lib/felhom-golden/felhom-controller-bootstrap-linux-amd64", "usr/lib/felhom-golden/felhom-controller-bootstrap-linux-arm64",
}

// TestPackages takes one machine of each Debian from the first installation to the purge.
func TestPackages(t *testing.T) {
	t.Parallel() // with TestQuickStart, which waits much
	for i, suite := range []string{"bookworm", "trixie"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, suite, standalone, byte(230+i))
			g := &caller{url: "https://" + net.JoinHostPort(m.address.String(), "8443")}
			m.firstInstallation(t)
			m.configure(t, g)
			m.upgrade(t, g)
			m.removeAndInstall(t, g)
			m.purge(t)
		})
	}
}

func (m machine) firstInstallation(t *testing.T) {
	said := m.install(t, "old")
	if !strings.Contains(said, "systemctl enable --now felhom-agentd") {
		t.Errorf("the installation does not say how to start the daemon:\n%s", said)
	}
	m.wantPaths(t, "installed", true, shipped...)
	m.wantPaths(t, "installed", true, "etc/felhom/agentd.yaml.example")
	if got := m.property(t, "ActiveState") + " " + m.property(t, "UnitFileState"); got != "inactive disabled" {
		t.Errorf("without a configuration the unit is %s, want inactive disabled", got)
	}
	for _, program := range []string{"felhom-agentd", "felhom-golden"} {
		if got := m.do(t, program, "--version"); !strings.HasPrefix(got, program+" v"+versions["old"]+" ") {
			t.Errorf("%s --version: got %q", program, got)
		}
	}
	// Only what an image needs from outside is missing: the guest's program is found.
	recipe := m.do(t, "sh", "-c", "felhom-golden build --print-recipe >/tmp/golden.yaml; felhom-golden build --recipe /tmp/golden.yaml --check --out /tmp 2>&1 || true")
	if strings.Contains(recipe, "felhom-controller-bootstrap") || !strings.Contains(recipe, "hint:") {
		t.Errorf("build --check: want findings about mirrors, and none about the guest's program:\n%s", recipe)
	}
}

// configure makes a host with a guest from the example, as its first lines say.
func (m machine) configure(t *testing.T, g *caller) {
	m.do(t, "sh", "-c", "umask 077; echo secret >/etc/felhom/registry-token; cp /etc/felhom/agentd.yaml.example /etc/felhom/agentd.yaml")
	m.do(t, "sed", "-i", "s/^bridge:.*/listen: [\""+m.address.String()+":8443\"]/; s/^hypervisor:.*/hypervisor: lxc/", "/etc/felhom/agentd.yaml")
	m.do(t, "systemctl", "enable", "--now", "felhom-agentd")
	m.do(t, "felhom-agentd", "guest", "add", vmid)
	g.read(t, m)
	if err := g.report(t.Context()); err != nil {
		t.Fatalf("first report: %v\n%s", err, m.do(t, "journalctl", "--no-pager", "-u", "felhom-agentd"))
	}
}

// upgrade: while a guest reports, the daemon is replaced; the guest is never refused, and keeps its token and pin.
func (m machine) upgrade(t *testing.T, g *caller) {
	config, err := os.ReadFile(filepath.Join(m.Rootfs(), "etc/felhom/agentd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	before := m.property(t, "MainPID")
	stop := g.keepReporting(t)
	m.install(t, "new")
	m.wantServing(t, g, "upgraded")
	sent := stop()
	if sent < 2 {
		t.Errorf("the guest sent %d reports during the upgrade", sent)
	}
	if after := m.property(t, "MainPID"); after == before || after == "0" {
		t.Errorf("MainPID was %s and is %s: the daemon was not restarted", before, after)
	}
	if got := m.do(t, "felhom-agentd", "--version"); !strings.HasPrefix(got, "felhom-agentd v"+versions["new"]+" ") {
		t.Errorf("--version: got %q", got)
	}
	m.wantPaths(t, "upgraded", true, append(state, shipped...)...)
	now, err := os.ReadFile(filepath.Join(m.Rootfs(), "etc/felhom/agentd.yaml"))
	if err != nil || !bytes.Equal(now, config) {
		t.Errorf("agentd.yaml was changed: %v\n%s", err, now)
	}
	if got := m.property(t, "UnitFileState"); got != "enabled" {
		t.Errorf("after the upgrade the unit is %s", got)
	}
}

func (m machine) removeAndInstall(t *testing.T, g *caller) {
	m.apt(t, "remove", "felhom-agentd", "felhom-golden")
	m.wantPaths(t, "removed", true, state...)
	m.wantPaths(t, "removed", false, shipped...)
	if err := g.report(t.Context()); err == nil {
		t.Error("removed: the daemon still answers")
	}
	m.install(t, "new")
	m.wantServing(t, g, "installed again")
}

func (m machine) purge(t *testing.T) {
	const mounted = "/var/lib/felhom/mounts/8299" // a file system of its own
	m.do(t, "mkdir", mounted)
	m.do(t, "mount", "-t", "tmpfs", "none", mounted)
	m.do(t, "touch", mounted+"/keep")
	if out := m.do(t, "sh", "-c", "apt-get --yes -o Dpkg::Use-Pty=0 purge felhom-agentd felhom-golden 2>&1"); !strings.Contains(out, "/var/lib/felhom/mounts is not removed whole") {
		t.Errorf("the purge says nothing of the file system that stays:\n%s", out)
	}
	m.do(t, "test", "-e", mounted+"/keep")
	m.do(t, "umount", mounted)
	m.do(t, "rm", "-r", "/var/lib/felhom")
	m.wantPaths(t, "purged", false, append(state, shipped...)...)
	m.wantPaths(t, "purged", false, "etc/felhom", "var/lib/felhom-agentd", "var/lib/felhom", "run/felhom-agentd")
	left := m.do(t, "find", "/etc", "/var", "/usr", "/run", "-xdev", "-iname", "*felhom*", "-not", "-path", "/var/lib/apt/*")
	if left != "" {
		t.Errorf("purged, and left behind:\n%s", left)
	}
	if failed := m.do(t, "systemctl", "list-units", "--failed", "--plain", "--no-legend", "felhom*"); failed != "" {
		t.Errorf("failed units: %s", failed)
	}
}

func (m machine) wantServing(t *testing.T, g *caller, when string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := guest.Poll(ctx, func() error { return g.report(ctx) }); err != nil {
		t.Fatalf("%s: %v\n%s", when, err, m.do(t, "journalctl", "--no-pager", "-u", "felhom-agentd"))
	}
}

// caller speaks to the local API as a guest does, with what is in its config mount.
type caller struct {
	url, token, pin string
	sequence        atomic.Int64
}

func (g *caller) read(t *testing.T, m machine) {
	t.Helper()
	var boot struct {
		Token string `json:"local_api_token"`
		Pin   string `json:"local_api_pin_spki_sha256"`
	}
	data, err := os.ReadFile(filepath.Join(m.Rootfs(), "var/lib/felhom/mounts", vmid, "bootstrap.json"))
	if err == nil {
		err = json.Unmarshal(data, &boot)
	}
	if err != nil || boot.Token == "" || boot.Pin == "" {
		t.Fatalf("bootstrap.json: %v", err)
	}
	g.token, g.pin = boot.Token, boot.Pin
}

// errRefused is an answer other than 204: a daemon that is not there answers nothing.
var errRefused = errors.New("refused")

func (g *caller) report(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body := fmt.Sprintf(`{"run":"r1","sequence":%d,"time":"2026-03-01T12:00:00Z","step":"image","state":"started"}`, g.sequence.Add(1))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/reports", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	req.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, //nolint:gosec // the pin is compared below
		VerifyConnection: func(s tls.ConnectionState) error {
			digest := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if pin := base64.StdEncoding.EncodeToString(digest[:]); pin != g.pin {
				return fmt.Errorf("%w: pin %s, want %s", errRefused, pin, g.pin)
			}
			return nil
		},
	}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%w: %s: %s", errRefused, resp.Status, text)
	}
	return nil
}

// keepReporting reports until the function that it returns is called, which returns how many arrived. A report that is refused fails
// the test; one that meets no daemon is sent again, as a guest does.
func (g *caller) keepReporting(t *testing.T) (stop func() (arrived int)) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		arrived := 0
		for ctx.Err() == nil {
			switch err := g.report(ctx); {
			case err == nil:
				arrived++
			case errors.Is(err, errRefused):
				t.Errorf("during the upgrade: %v", err)
			}
			select { // below the quota of 120 a minute
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		done <- arrived
	}()
	return func() int { cancel(); return <-done }
}
