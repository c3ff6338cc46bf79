package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/command/commandtest"
	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
)

// doctor runs the command and returns its report, and what it printed.
func (g *guest) doctor(args ...string) (code int, report checks.Report, text string) {
	g.t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(g.t.Context(), append([]string{program, "doctor", "--json", "--root", g.root, "--docker-host", g.dockerHost}, args...), &stdout, &stderr)
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		g.t.Fatalf("doctor exits with %d: %v\n%s%s", code, err, stdout.String(), stderr.String())
	}
	return code, report, stdout.String() + stderr.String()
}

var guestCheckNames = []string{"mount", "parse", "channel", "settings", "engine", "registry", "disk", "clock"}

// Each fault is made for real: a mount, a host and a registry of its own.
func TestDoctorFindsFaultsOfAGuest(t *testing.T) {
	page := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(page.Close)
	for _, c := range []struct {
		name   string
		fault  func(g *guest)
		check  string
		result checks.Result
		reason string
		code   int
	}{
		{"well", func(*guest) {}, "channel", checks.OK, "guest 8200", 0},
		{"no mount", func(g *guest) { _ = os.Remove(g.root + "/etc/felhom-bootstrap/bootstrap.json") }, "mount", checks.Failed, "no such file", 5},
		{"a link in the mount", func(g *guest) {
			_ = os.Remove(g.root + "/etc/felhom-bootstrap/bootstrap.json")
			_ = os.Symlink("/etc/shadow", g.root+"/etc/felhom-bootstrap/bootstrap.json")
		}, "mount", checks.Failed, "symbolic link", 3},
		{"a token that all can read", func(g *guest) { _ = os.Chmod(g.root+"/etc/felhom-bootstrap/bootstrap.json", 0o644) }, "mount", checks.Warning, "0644", 0},
		{"not JSON", func(g *guest) { g.write("etc/felhom-bootstrap/bootstrap.json", "{") }, "parse", checks.Failed, "bootstrap.json", 3},
		{"unknown key", func(g *guest) { g.set("walk", guestToken) }, "parse", checks.Failed, "walk", 3},
		{"container that cannot be", func(g *guest) { g.set("container", map[string]any{"ports": []string{"x"}}) }, "parse", checks.Failed, "ports", 3},
		{"another host", func(g *guest) {
			g.set("local_api_pin_spki_sha256", "uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=")
		}, "channel", checks.Failed, "pin", 4},
		{"another token", func(g *guest) { g.set("local_api_token", "fgt_8200_another-token") }, "channel", checks.Failed, "401", 4},
		{"another guest", func(g *guest) { g.set("guest_id", 8201) }, "channel", checks.Failed, "takes this guest for 8200", 4},
		{"no host", func(g *guest) { g.set("local_api_endpoint", "https://127.0.0.1:1") }, "channel", checks.Failed, "cannot be reached", 5},
		{"no engine", func(g *guest) { g.dockerHost = "unix://" + g.root + "/none.sock" }, "engine", checks.Failed, "engine", 5},
		{"no registry", func(g *guest) {
			g.dockerHost = "unix://" + g.root + "/none.sock"
			g.set("controller_image", "127.0.0.1:1/app:1")
		}, "registry", checks.Failed, "127.0.0.1:1", 5},
		{"a page in place of the registry", func(g *guest) {
			g.dockerHost = "unix://" + g.root + "/none.sock"
			g.set("controller_image", strings.TrimPrefix(page.URL, "https://")+"/app:1")
		}, "registry", checks.Failed, "certificate", 4},
		{"no file of the host's registry", func(g *guest) { g.set("registry_access", "proxy") }, "registry", checks.Failed, "hosts.toml", 5},
		{"a clock that is wrong", func(g *guest) { g.host.clock = "2020-01-31T12:00:00Z" }, "clock", checks.Failed, "clock", 5},
		{"a clock that is nearly right", func(g *guest) { g.host.clock = time.Now().Add(time.Minute).Format(time.RFC3339) }, "clock", checks.Warning, "clock", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.check == "engine" || c.check == "registry" {
				t.Parallel() // without an engine, it is waited for
			}
			g, _ := troubled(t)
			c.fault(g)
			code, report, text := g.doctor("--timeout", "60s")
			at := slices.IndexFunc(report.Rows, func(r checks.Row) bool { return r.Check == c.check && strings.Contains(r.Reason, c.reason) })
			if at < 0 || report.Rows[at].Result != c.result || c.result != checks.OK && report.Rows[at].Remedy == "" {
				t.Fatalf("want %s %s with %q and a remedy:\n%s", c.check, c.result, c.reason, text)
			}
			if code != c.code {
				t.Errorf("exit code %d, want %d:\n%s", code, c.code, text)
			}
			for _, secret := range []string{guestToken, "another-token"} {
				if strings.Contains(text, secret) {
					t.Errorf("the token is printed:\n%s", text)
				}
			}
			var names []string
			for _, r := range report.Rows {
				names = append(names, r.Check)
			}
			if got := slices.Compact(names); !slices.Equal(got, guestCheckNames) {
				t.Errorf("checks %v, want %v", got, guestCheckNames)
			}
		})
	}
}

// troubled is a guest with an engine of its own, as before its first run.
func troubled(t *testing.T) (*guest, *dockertest.Engine) {
	t.Helper()
	dir, err := os.MkdirTemp("", "fcb") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	engine := dockertest.StartAt(t, filepath.Join(dir, "e.sock"))
	g := newGuest(t, dir, engine.Host)
	g.host.clock = time.Now().Format(time.RFC3339)
	g.set("controller_image", "reg.example/c:v1")
	return g, engine
}

// A controller without its settings, or with others, is in setup mode.
func TestDoctorFindsSetupMode(t *testing.T) {
	const heading = "### 3. The controller is in setup mode"
	g, engine := troubled(t)
	settings := filepath.Join(g.root, "opt/docker/felhom-controller/controller.yaml")
	want := func(when string, result checks.Result, reason string) string {
		t.Helper()
		_, report, text := g.doctor()
		at := slices.IndexFunc(report.Rows, func(r checks.Row) bool { return r.Check == "settings" })
		if at < 0 || report.Rows[at].Result != result || !strings.Contains(report.Rows[at].Reason, reason) {
			t.Errorf("%s: want settings %s with %q:\n%s", when, result, reason, text)
			return ""
		}
		return strings.ReplaceAll(report.Rows[at].Reason, g.root, "")
	}
	want("before the first run", checks.OK, "no controller yet")
	engine.Add("felhom-controller", "reg.example/c:v1")
	said := want("no file", checks.Failed, "does not exist")
	commandtest.WantQuoted(t, "..", heading, said)
	if err := os.MkdirAll(settings, 0o755); err != nil {
		t.Fatal(err)
	}
	want("a directory, as Docker makes one for a missing source of a volume", checks.Failed, "setup mode")
	if err := os.Remove(settings); err != nil {
		t.Fatal(err)
	}
	g.write("opt/docker/felhom-controller/controller.yaml", "mine: true\n")
	want("other settings", checks.Warning, "is not what built-in controller.yaml.tmpl gives now")
	g.write("etc/felhom/controller.yaml.tmpl", "mine: true\n")
	want("as the template gives them", checks.OK, "controller.yaml is what ")
	g.write("etc/felhom/controller.yaml.tmpl", "- a\n")
	want("a template that gives none", checks.Failed, "not a YAML mapping")
	g.set("profile", "plain")
	want("the profile plain", checks.OK, "has none")
}

// What docs/troubleshooting.md quotes of the registry and the certificate is what is printed.
func TestTroubleshootingQuotesThisProgram(t *testing.T) {
	g, engine := troubled(t)
	engine.Username, engine.Password = "puller", "other"
	_, said := g.apply()
	commandtest.WantQuoted(t, "..", "### 2. The registry refuses the credential", said)

	g, _ = troubled(t)
	g.set("local_api_pin_spki_sha256", "uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=")
	_, said = g.apply()
	commandtest.WantQuoted(t, "..", "### 4. The certificate does not match", said)
}

// An engine that takes the connection and never answers, and a host that does
// the same, cost their own rows.
func TestDoctorWithAnEngineThatHangs(t *testing.T) {
	dir, err := os.MkdirTemp("", "fcb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	silent, err := net.Listen("unix", filepath.Join(dir, "e.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	g := newGuest(t, dir, "unix://"+dir+"/e.sock")
	g.host.clock = time.Now().Format(time.RFC3339)
	g.set("controller_image", "reg.example/c:v1")
	code, report, text := g.doctor("--timeout", "2s")
	results := map[string]checks.Result{}
	for _, r := range report.Rows {
		results[r.Check] = r.Result
	}
	if code != 5 || results["engine"] == checks.OK || results["channel"] != checks.OK || results["clock"] != checks.OK || len(results) != len(guestCheckNames) {
		t.Errorf("exit code %d:\n%s", code, text)
	}
}
