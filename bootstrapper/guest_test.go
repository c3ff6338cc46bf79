package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/pin"
)

const guestToken = "fgt_8200_not-a-real-token"

// fakeHost is a local API that knows one guest and keeps its reports.
type fakeHost struct {
	endpoint, pin string

	mu      sync.Mutex
	reports []contract.Report
	status  int    // of GET /guest; 200 where zero
	clock   string // what it says the time is; a fixed one if empty
}

func startHost(t *testing.T) *fakeHost {
	t.Helper()
	h := &fakeHost{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /guest", func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		status, clock := h.status, cmp.Or(h.clock, "2026-01-31T12:00:00Z")
		h.mu.Unlock()
		if status != 0 || r.Header.Get("Authorization") != "Bearer "+guestToken {
			w.WriteHeader(max(status, 401))
			return
		}
		_, _ = io.WriteString(w, `{"guest":8200,"host_id":"demo-felhom","agent":"t","time":"`+clock+`"}`)
	})
	mux.HandleFunc("POST /reports", func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		report, err := contract.ParseReport(data)
		if err != nil {
			t.Errorf("report %s: %v", data, err)
		}
		h.mu.Lock()
		h.reports = append(h.reports, report)
		h.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	h.endpoint, h.pin = server.URL, pin.SPKIOf(server.Certificate()).Base64()
	return h
}

func (h *fakeHost) last() contract.Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.reports) == 0 {
		return contract.Report{}
	}
	return h.reports[len(h.reports)-1]
}

// guest is a guest's root directory with a filled mount.
type guest struct {
	t          *testing.T
	root       string
	dockerHost string
	host       *fakeHost
	config     map[string]any
}

func newGuest(t *testing.T, root, dockerHost string) *guest {
	t.Helper()
	h := startHost(t)
	g := &guest{t: t, root: root, dockerHost: dockerHost, host: h, config: map[string]any{
		"hub_url": "https://hub.example", "host_id": "demo-felhom", "guest_id": 8200,
		"local_api_endpoint": h.endpoint, "local_api_pin_spki_sha256": h.pin, "local_api_token": guestToken,
	}}
	for _, dir := range []string{"etc/felhom-bootstrap", "etc/felhom", "run"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func (g *guest) write(name, text string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.root, name), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// set changes keys of bootstrap.json; nil removes one.
func (g *guest) set(pairs ...any) {
	g.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(g.config, pairs[i].(string))
			continue
		}
		g.config[pairs[i].(string)] = pairs[i+1]
	}
	data, err := json.MarshalIndent(g.config, "", "  ")
	if err != nil {
		g.t.Fatal(err)
	}
	g.write("etc/felhom-bootstrap/bootstrap.json", string(data))
}

// apply runs the program and gives its exit code and what it said.
func (g *guest) apply(args ...string) (code int, said string) {
	g.t.Helper()
	var stdout, stderr bytes.Buffer
	full := append([]string{program, "apply", "--root", g.root, "--docker-host", g.dockerHost}, args...)
	code = run(g.t.Context(), full, &stdout, &stderr)
	if stdout.Len() > 0 {
		g.t.Errorf("stdout is %q, want it empty", stdout.String())
	}
	for _, secret := range []string{guestToken} {
		if strings.Contains(stderr.String(), secret) {
			g.t.Errorf("the token is in the output:\n%s", stderr.String())
		}
	}
	return code, stderr.String()
}

// want runs the program and checks code and words. A word may list what
// engines of different ages say, with | between.
func (g *guest) want(code int, words []string, args ...string) string {
	g.t.Helper()
	got, said := g.apply(args...)
	if got != code {
		g.t.Fatalf("exit code %d, want %d:\n%s", got, code, said)
	}
	for _, w := range words {
		if !slices.ContainsFunc(strings.Split(w, "|"), func(w string) bool { return strings.Contains(said, w) }) {
			g.t.Errorf("output does not say %q:\n%s", w, said)
		}
	}
	r := g.result()
	if r.ExitCode != code {
		g.t.Errorf("recorded exit code %d, want %d", r.ExitCode, code)
	}
	if last := g.host.last(); last.Run == r.Run && (last.Step != contract.StepRun || last.ExitCode != code) {
		g.t.Errorf("reported exit code %d, want %d", last.ExitCode, code)
	}
	return said
}

func (g *guest) result() record.Result {
	g.t.Helper()
	r, err := record.Read(filepath.Join(g.root, record.File))
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

// outcomes gives "step result" of the last run.
func (g *guest) outcomes() []string {
	var out []string
	for _, s := range g.result().Steps {
		out = append(out, s.Step+" "+s.Result)
	}
	return out
}
