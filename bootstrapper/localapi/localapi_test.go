package localapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/pin"
)

const (
	oldToken = "fgt_8200_old-secret"
	newToken = "fgt_8200_new-secret"
)

// host is a local API that knows one token.
type host struct {
	*httptest.Server
	mu    sync.Mutex
	token string
	asked []string // paths, in order
	body  []byte
}

func startHost(t *testing.T, token string) *host {
	t.Helper()
	h := &host{token: token}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asked = append(h.asked, r.Method+" "+r.URL.Path)
		if r.Header.Get("Authorization") != "Bearer "+h.token {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"unauthorized","message":"not a valid one"}`)
			return
		}
		switch r.URL.Path {
		case contract.PathGuest:
			_, _ = io.WriteString(w, `{"guest":8200,"host_id":"h","agent":"v1","time":"2026-01-31T12:00:00Z"}`)
		case contract.PathReports:
			h.body, _ = io.ReadAll(r.Body)
			w.WriteHeader(http.StatusNoContent)
		case "/guests/8201/storage":
			w.WriteHeader(http.StatusForbidden)
		default:
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *host) know(token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.token = token
}

func (h *host) pin() string { return pin.SPKIOf(h.Certificate()).String() }

// write puts a bootstrap.json of the host into file.
func (h *host) write(t *testing.T, file, token string) {
	t.Helper()
	data, err := json.Marshal(map[string]string{
		"local_api_endpoint": h.URL, "local_api_pin_leaf_sha256": pin.LeafOf(h.Certificate()).String(), "local_api_token": token,
		"controller_image": "registry.example/app:1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func classOf(t *testing.T, err error) Class {
	t.Helper()
	if err == nil {
		return ""
	}
	own, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %v is a %T, want *Error", err, err)
	}
	if strings.Contains(err.Error(), oldToken) || strings.Contains(err.Error(), newToken) {
		t.Errorf("error %v holds the token", err)
	}
	return own.Class
}

func TestErrorsHaveTheirClass(t *testing.T) {
	h := startHost(t, oldToken)
	c, err := New(Options{Endpoint: h.URL, Pins: []string{h.pin()}, Token: oldToken, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Guest(t.Context())
	if diff := cmp.Diff(Guest{VMID: 8200, HostID: "h", Agent: "v1", HostTime: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)}, got); err != nil || diff != "" {
		t.Errorf("Guest: %v\n%s", err, diff)
	}
	_, err = c.GuestStorage(t.Context(), 8201)
	if class := classOf(t, err); class != ClassOtherGuest {
		t.Errorf("another guest: class %q", class)
	}
	_, err = c.Storage(t.Context())
	if e, ok := errors.AsType[*Error](err); !ok || e.Class != ClassLater || e.RetryAfter != 7*time.Second || e.Status != 503 {
		t.Errorf("busy: %+v", err)
	}
	h.know("another")
	_, err = c.Guest(t.Context())
	if class := classOf(t, err); class != ClassNoToken {
		t.Errorf("unknown token: class %q", class)
	}
	h.Close()
	_, err = c.Guest(t.Context())
	if class := classOf(t, err); class != ClassUnreachable {
		t.Errorf("host is down: class %q", class)
	}
}

func TestAnotherHostGetsNoRequest(t *testing.T) {
	h, other := startHost(t, oldToken), httptest.NewUnstartedServer(nil)
	other.Close()
	c, err := New(Options{Endpoint: h.URL, Pins: []string{"uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM="}, Token: oldToken, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Guest(t.Context())
	if class := classOf(t, err); class != ClassOtherHost || len(h.asked) != 0 {
		t.Errorf("class %q, requests %v", class, h.asked)
	}
}

// A controller that keeps the file open for weeks must not fail when the host
// rotates the token.
func TestOpenFollowsTheFile(t *testing.T) {
	h := startHost(t, oldToken)
	file := filepath.Join(t.TempDir(), "bootstrap.json")
	h.write(t, file, oldToken)
	c, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(about string) {
		t.Helper()
		if _, err := c.Guest(t.Context()); err != nil {
			t.Errorf("%s: %v", about, err)
		}
	}
	ask("first")
	stamp := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	ask("touched")
	h.write(t, file, newToken)
	if err := os.Chtimes(file, stamp, stamp); err != nil { // as large and as old as before: only a refusal shows it
		t.Fatal(err)
	}
	h.know(newToken)
	ask("rotated, with the same size and time")
	for name, text := range map[string]string{"empty": "", "no JSON": "{", "large": strings.Repeat(" ", contract.MaxBootstrapBytes+1)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ask(name)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	ask("removed")
	if _, err := Open(file); classOf(t, err) != ClassRefused {
		t.Errorf("Open of nothing: %v", err)
	}
}

func TestOptionsThatAreNotValid(t *testing.T) {
	good := Options{Endpoint: "https://192.0.2.1:8443", Pins: []string{"uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM="}, Token: oldToken}
	for name, change := range map[string]func(*Options){
		"no pins": func(o *Options) { o.Pins = nil }, "pin": func(o *Options) { o.Pins = []string{"x"} }, "endpoint": func(o *Options) { o.Endpoint = "http://h:1" },
		"token": func(o *Options) { o.Token = oldToken + "\n" }, "no token": func(o *Options) { o.Token = "" },
	} {
		o := good
		change(&o)
		if _, err := New(o); classOf(t, err) != ClassRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{fmt.Sprint(good), fmt.Sprintf("%+v %#v %s %q", good, good, &good, []Options{good})} {
		if strings.Contains(text, oldToken) {
			t.Errorf("the token is printed: %s", text)
		}
	}
	if data, err := json.Marshal(good); err != nil || strings.Contains(string(data), oldToken) {
		t.Errorf("the token is encoded: %s, %v", data, err)
	}
}

func TestReport(t *testing.T) {
	h := startHost(t, oldToken)
	c, err := New(Options{Endpoint: h.URL, Pins: []string{h.pin()}, Token: oldToken, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := Report{
		Run: "r1", Sequence: 3, Time: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), Step: "ready", State: "done", Result: "changed", Message: "m", Hint: "h",
		Class: "ok", ExitCode: 5, Duration: 1500 * time.Millisecond, Version: "v1",
	}
	if err := c.Report(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	got, err := contract.ParseReport(h.body)
	want := contract.Report{
		Run: "r1", Sequence: 3, Time: r.Time, Step: "ready", State: "done", Result: "changed", Message: "m", Hint: "h",
		Class: "ok", ExitCode: 5, DurationMS: 1500, Version: "v1",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	r.Step = "walk"
	if err := c.Report(t.Context(), r); classOf(t, err) != ClassRefused || len(h.asked) != 1 {
		t.Errorf("invalid report: %v, requests %v", err, h.asked)
	}
}
