package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
)

const hostPort = "192.0.2.7:8443"

type bed struct {
	*api.Server
	tokens  map[int]token.Token
	storage *drivertest.Fake
	store   *guests.Store

	mu     sync.Mutex
	now    time.Time
	events []api.Event
}

func newBed(t *testing.T, vmids ...int) *bed {
	t.Helper()
	state := t.TempDir()
	// Whole seconds: the digits of a fraction can be those of a guest's id, which
	// answers must not contain.
	b := &bed{tokens: map[int]token.Token{}, storage: &drivertest.Fake{}, now: time.Now().Truncate(time.Second)}
	var err error
	if b.store, err = guests.Open(filepath.Join(state, "guests"), state, b.clock); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	for _, vmid := range vmids {
		m, err := b.store.Mint(t.Context(), vmid, 100000, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		b.tokens[vmid] = m.Token
		b.storage.Set(vmid, driver.Usage{Path: "/", Size: int64(vmid) << 20, Used: 1 << 20, Available: int64(vmid-1) << 20})
	}
	b.Server = api.New(api.Options{
		Guests: b.store, Storage: b.storage, HostID: "demo", Version: "v9.9.9-secretversion", Hosts: []string{hostPort},
		ReportsPerMinute: 60, Now: b.clock, Event: func(e api.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		},
	})
	return b
}

func (b *bed) clock() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now }

func (b *bed) advance(d time.Duration) { b.mu.Lock(); defer b.mu.Unlock(); b.now = b.now.Add(d) }

func (b *bed) count(kind api.Kind) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

type answer struct {
	status int
	body   string
	header http.Header
}

// ask sends one request; edit may change it.
func (b *bed) ask(method, path, bearer, body string, edit ...func(*http.Request)) answer {
	r := httptest.NewRequest(method, "https://"+hostPort+path, strings.NewReader(body))
	r.RemoteAddr = "192.0.2.20:40000"
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	out, _ := io.ReadAll(w.Result().Body) // a recorder's body does not fail
	return answer{status: w.Code, body: string(out), header: w.Header()}
}

func reportBody(run string, sequence int) string {
	return fmt.Sprintf(`{"run":%q,"sequence":%d,"time":"2026-03-01T12:00:00Z","step":"image","state":"done","result":"changed","version":"v1"}`, run, sequence)
}

// bodyOf is a body that route accepts.
func bodyOf(r api.Route) string {
	if r.MaxBody == 0 {
		return ""
	}
	return reportBody("run-1", 1)
}

func pathOf(r api.Route, vmid int) string {
	return strings.ReplaceAll(r.Path, "{vmid}", strconv.Itoa(vmid))
}

func everyRouteForEveryPair(t *testing.T) {
	vmids := []int{100, 8200, 8201, 999999999}
	b := newBed(t, vmids...)
	const unknown = 8299
	for _, route := range b.Routes() {
		for _, asking := range vmids {
			forbidden := ""
			for _, other := range append(slices.Clone(vmids), unknown) {
				got := b.ask(route.Method, pathOf(route, other), b.tokens[asking].Reveal(), bodyOf(route))
				isOwn := route.Right == api.AnyGuest || other == asking
				if isOwn && got.status/100 != 2 || !isOwn && got.status != http.StatusForbidden {
					t.Errorf("%s %s by %d: %d %s", route.Method, pathOf(route, other), asking, got.status, got.body)
				}
				if isOwn {
					for _, other := range vmids {
						if other != asking && strings.Contains(got.body, strconv.Itoa(other)) {
							t.Errorf("%s %s by %d shows guest %d: %s", route.Method, route.Path, asking, other, got.body)
						}
					}
					continue
				}
				if forbidden != "" && got.body != forbidden {
					t.Errorf("%s by %d: the refusal for %d is another one: %s", route.Path, asking, other, got.body)
				}
				forbidden = got.body
			}
		}
	}
}

func TestNothingIsReadableWithoutAToken(t *testing.T) {
	b := newBed(t, 8200)
	good := b.tokens[8200].Reveal()
	type try struct{ method, path string }
	tries := []try{{"GET", "/"}, {"GET", "/health"}, {"GET", "/nope"}, {"DELETE", "/guest"}, {"OPTIONS", "/guest"}, {"GET", "/guests/8200/storage/"}, {"GET", "//guest"}}
	for _, r := range b.Routes() {
		tries = append(tries, try{r.Method, pathOf(r, 8200)})
	}
	headers := map[string][]string{
		"none":          nil,
		"empty":         {""},
		"token alone":   {good},
		"basic":         {"Basic " + good},
		"two headers":   {"Bearer " + good, "Bearer " + good},
		"malformed":     {"Bearer x"},
		"cut":           {"Bearer " + good[:len(good)-1]},
		"unknown guest": {"Bearer " + token.Mint(8299).Reveal()},
		"wrong secret":  {"Bearer " + token.Mint(8200).Reveal()},
		"two blanks":    {"Bearer  " + good},
	}
	want := ""
	for _, try := range tries {
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			b.advance(time.Minute) // the limits have their own test
			got := b.ask(try.method, try.path, "", "", func(r *http.Request) {
				for _, h := range headers[name] {
					r.Header.Add("Authorization", h)
				}
			})
			if got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s, %s: %d, want 401", try.method, try.path, name, got.status)
			}
			all := fmt.Sprint(got.header) + got.body
			if want == "" {
				want = all
			}
			if all != want {
				t.Errorf("%s %s, %s: another answer than the others': %s", try.method, try.path, name, all)
			}
		}
	}
	if strings.Contains(want, "secretversion") || strings.Contains(want, "8200") {
		t.Errorf("the refusal shows something: %s", want)
	}
	for _, e := range b.events {
		if text := fmt.Sprintf("%+v", e); strings.Contains(text, good[9:20]) {
			t.Errorf("event holds a token: %s", text)
		}
	}
}

func TestGate(t *testing.T) {
	b := newBed(t, 8200)
	cases := []struct {
		name string
		edit func(*http.Request)
		want int
	}{
		{"as it should be", func(*http.Request) {}, 200},
		{"host in upper case", func(r *http.Request) { r.Host = strings.ToUpper(hostPort) }, 200},
		{"rebound name", func(r *http.Request) { r.Host = "evil.example:8443" }, 421},
		{"host without port", func(r *http.Request) { r.Host = "192.0.2.7" }, 421},
		{"no host", func(r *http.Request) { r.Host = "" }, 421},
		{"origin", func(r *http.Request) { r.Header.Set("Origin", "null") }, 400},
		{"referer", func(r *http.Request) { r.Header.Set("Referer", "") }, 400},
		{"via", func(r *http.Request) { r.Header.Set("Via", "1.1 proxy") }, 400},
		{"forwarded", func(r *http.Request) { r.Header.Set("Forwarded", "for=10.0.0.1") }, 400},
		{"x-forwarded-for", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.1") }, 400},
		{"x-forwarded-host", func(r *http.Request) { r.Header.Set("X-Forwarded-Host", "a") }, 400},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := b.ask("GET", "/guest", b.tokens[8200].Reveal(), "", c.edit); got.status != c.want {
				t.Errorf("%d %s, want %d", got.status, got.body, c.want)
			}
		})
	}
}

func TestRouting(t *testing.T) {
	b := newBed(t, 8200)
	cases := []struct {
		method, path string
		want         int
		allow        string
	}{
		{"GET", "/guest", 200, ""},
		{"GET", "/guest?x=y", 200, ""},
		{"GET", "/guests/8200/storage", 200, ""},
		{"GET", "/guests/08200/storage", 403, ""},
		{"GET", "/guests/abc/storage", 403, ""},
		{"GET", "/guests/%38200/storage", 403, ""}, // another spelling is another path
		{"GET", "/guests//storage", 404, ""},
		{"GET", "/guests/8200/storage/", 404, ""},
		{"GET", "/guests/8200/../8201/storage", 404, ""},
		{"GET", "/guests/8200%2fstorage", 404, ""},
		{"GET", "//guest", 404, ""},
		{"GET", "/guest/", 404, ""},
		{"GET", "/", 404, ""},
		{"HEAD", "/guest", 405, "GET"},
		{"OPTIONS", "/reports", 405, "POST"},
		{"PUT", "/guests/8201/storage", 405, "GET"},
	}
	for _, c := range cases {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			got := b.ask(c.method, c.path, b.tokens[8200].Reveal(), "")
			if got.status != c.want || got.header.Get("Allow") != c.allow || got.header.Get("Location") != "" {
				t.Errorf("%d, Allow %q, want %d, %q", got.status, got.header.Get("Allow"), c.want, c.allow)
			}
		})
	}
}

func failuresOfASource(t *testing.T) {
	b := newBed(t, 8200)
	good, wrong := b.tokens[8200].Reveal(), token.Mint(8200).Reveal()
	statuses := map[int]int{}
	for range 1000 {
		statuses[b.ask("GET", "/guest", wrong, "").status]++
	}
	if statuses[401] != 10 || statuses[429] != 990 {
		t.Errorf("statuses %v, want 10 times 401, then 429", statuses)
	}
	if n := b.count(api.TokenRefused); n != 10 {
		t.Errorf("%d events, want 10: a flood must not fill the log", n)
	}
	if got := b.ask("GET", "/guest", good, ""); got.status != 200 {
		t.Errorf("good token from the same source: %d", got.status)
	}
	other := func(r *http.Request) { r.RemoteAddr = "192.0.2.21:1" }
	if got := b.ask("GET", "/guest", wrong, "", other); got.status != 401 {
		t.Errorf("another source: %d, want its own 401", got.status)
	}
	b.advance(3 * time.Second)
	if got := b.ask("GET", "/guest", wrong, ""); got.status != 401 {
		t.Errorf("after three seconds: %d, want 401", got.status)
	}
}

func TestReports(t *testing.T) {
	b := newBed(t, 8200)
	tok := b.tokens[8200].Reveal()
	contentType := func(v string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Content-Type", v) }
	}
	cases := []struct {
		name, body string
		edit       func(*http.Request)
		want       int
	}{
		{"first", reportBody("run-1", 1), contentType("application/json"), 204},
		{"again", reportBody("run-1", 1), contentType("application/json; charset=utf-8"), 204},
		{"as a form", reportBody("run-1", 2), contentType("application/x-www-form-urlencoded"), 415},
		{"as text", reportBody("run-1", 2), contentType("text/plain"), 415},
		{"without type", reportBody("run-1", 2), contentType(""), 415},
		{"no JSON", "{", contentType("application/json"), 422},
		{"just too large", strings.Repeat(" ", contract.MaxReportBytes+1), contentType("application/json"), 413},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := b.ask("POST", "/reports", tok, c.body, c.edit); got.status != c.want {
				t.Errorf("%d %s, want %d", got.status, got.body, c.want)
			}
		})
	}
	if n := b.count(api.ReportReceived); n != 1 {
		t.Errorf("%d events, want one: a repeat is not news", n)
	}
	p, err := b.store.Progress(8200)
	if err != nil || p.Sequence != 1 || p.Run != "run-1" {
		t.Errorf("stored %+v, %v", p, err)
	}
}

func TestReportQuotaIsPerGuest(t *testing.T) {
	b := newBed(t, 8200, 8201)
	statuses := map[int]int{}
	for i := range 100 {
		got := b.ask("POST", "/reports", b.tokens[8200].Reveal(), reportBody("run-1", i+1))
		statuses[got.status]++
		if after := got.header.Get("Retry-After"); (got.status == 429) != (after == "1") {
			t.Errorf("report %d: %d with Retry-After %q, want 1 with each 429", i+1, got.status, after)
		}
	}
	if statuses[204] != 60 || statuses[429] != 40 {
		t.Errorf("statuses %v, want 60 taken and 40 refused", statuses)
	}
	if got := b.ask("POST", "/reports", b.tokens[8201].Reveal(), reportBody("run-1", 1)); got.status != 204 {
		t.Errorf("the other guest: %d", got.status)
	}
	if got := b.ask("GET", "/guest", b.tokens[8200].Reveal(), ""); got.status != 200 {
		t.Errorf("reading is refused as well: %d", got.status)
	}
}

func TestStorage(t *testing.T) {
	b := newBed(t, 8200)
	tok := b.tokens[8200].Reveal()
	cases := []struct {
		name   string
		usage  []driver.Usage
		broken error
		status int
		want   string
	}{
		{"plenty", []driver.Usage{{Path: "/", Size: 100, Used: 90, Available: 10}}, nil, 200, "ok"},
		{"one of two is low", []driver.Usage{{Path: "/", Size: 100, Available: 50}, {Path: "/srv", Size: 100, Available: 9}}, nil, 200, "low"},
		{"one of two is full", []driver.Usage{{Path: "/", Size: 100, Available: 9}, {Path: "/srv", Size: 100}}, nil, 200, "full"},
		{"host knows no figures", nil, driver.ErrNotFound, 200, "unknown"},
		{"pool is gone", nil, errors.New("pool is gone"), 503, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b.storage.Set(8200, c.usage...)
			b.storage.Break(c.broken)
			got := b.ask("GET", "/storage", tok, "")
			var s contract.Storage
			if err := json.Unmarshal([]byte(got.body), &s); err != nil {
				t.Fatal(err)
			}
			if got.status != c.status || string(s.Storage) != c.want || len(s.Filesystems) != len(c.usage) {
				t.Errorf("%d %s, want %d %q", got.status, got.body, c.status, c.want)
			}
			if strings.Contains(got.body, "pool") {
				t.Errorf("the cause went to the guest: %s", got.body)
			}
		})
	}
}

func TestFirstUseIsNotedOnce(t *testing.T) {
	b := newBed(t, 8200)
	b.ask("GET", "/guest", b.tokens[8200].Reveal(), "")
	if r, err := b.store.Get(8200); err != nil || r.Current.FirstUsed != nil {
		t.Errorf("after GET /guest: record %+v, %v, want no first use: only the bootstrapper has the token so far", r.Current, err)
	}
	for range 3 {
		b.ask("GET", "/storage", b.tokens[8200].Reveal(), "")
	}
	r, err := b.store.Get(8200)
	if err != nil || r.Current.FirstUsed == nil || b.count(api.TokenFirstUsed) != 1 {
		t.Errorf("record %+v, %v, %d events", r.Current, err, b.count(api.TokenFirstUsed))
	}
}
