package api_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// registry answers with the guest that it was given.
type registry struct{ last registryproxy.Guest }

func (g *registry) Serve(w http.ResponseWriter, r *http.Request, guest registryproxy.Guest) {
	g.last = guest
	w.Header().Set("X-Method", r.Method)
	w.WriteHeader(http.StatusTeapot)
}

func withRegistry(t *testing.T, vmids ...int) (*bed, *registry) {
	t.Helper()
	b, g := newBed(t, vmids...), &registry{}
	b.Server = api.New(api.Options{
		Guests: b.store, Registry: g, HostID: "demo", Version: "v1", Hosts: []string{hostPort}, ReportsPerMinute: 60, Now: b.clock,
		Event: func(e api.Event) { b.mu.Lock(); defer b.mu.Unlock(); b.events = append(b.events, e) },
	})
	return b, g
}

func authorize(value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", value) }
}

func TestRegistryWantsTheGuestsToken(t *testing.T) {
	b, g := withRegistry(t, 8200, 8201)
	good := b.tokens[8200].Reveal()
	basic := func(user, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
	}
	for name, c := range map[string]struct {
		header string
		want   int
	}{
		"bearer":             {"Bearer " + good, http.StatusTeapot},
		"basic":              {basic("guest-8200", good), http.StatusTeapot},
		"another user":       {basic("alice", good), http.StatusTeapot},
		"no user":            {basic("", good), http.StatusTeapot},
		"another's name":     {basic("guest-8201", good), http.StatusTeapot},
		"token as the user":  {basic(good, ""), 401},
		"wrong token":        {basic("guest-8200", token.Mint(8200).Reveal()), 401},
		"token with a tail":  {basic("guest-8200", good+":x"), 401},
		"not base64":         {"Basic " + good, 401},
		"digest":             {"Digest " + good, 401},
		"nothing":            {"", 401},
		"base64 and a blank": {basic("u", good) + " ", 401},
	} {
		b.advance(time.Minute) // the limit of failures has its own test
		got := b.ask("GET", "/v2/", "", "", authorize(c.header))
		if got.status != c.want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, c.want)
		}
		if c.want == 401 && got.header.Get("WWW-Authenticate") != `Basic realm="felhom"` {
			t.Errorf("%s: challenge %q: engines would not show a password", name, got.header.Get("WWW-Authenticate"))
		}
		if c.want != 401 && g.last.VMID != 8200 {
			t.Errorf("%s: the registry sees guest %d", name, g.last.VMID)
		}
		// Elsewhere a password is not a token.
		if got := b.ask("GET", "/guest", "", "", authorize(c.header)); name != "bearer" && (got.status != 401 || got.header.Get("WWW-Authenticate") != `Bearer realm="felhom"`) {
			t.Errorf("%s on /guest: %d", name, got.status)
		}
	}
}

func TestRegistryGetsEveryMethodAndPathOfItsOwn(t *testing.T) {
	b, _ := withRegistry(t, 8200)
	tok := b.tokens[8200].Reveal()
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"} {
		for _, path := range []string{"/v2/", "/v2/a/manifests/v1", "/v2/a/blobs/uploads/", "/v2//x", "/v2/%2e%2e/guest"} {
			if got := b.ask(method, path, tok, ""); got.status != http.StatusTeapot || got.header.Get("X-Method") != method {
				t.Errorf("%s %s: %d", method, path, got.status)
			}
		}
	}
	for _, path := range []string{"/v2", "/V2/", "/v1/", "//v2/", "/x/v2/", "/%76%32/"} {
		if got := b.ask("GET", path, tok, ""); got.status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, got.status)
		}
	}
	without := newBed(t, 8200)
	if got := without.ask("GET", "/v2/", without.tokens[8200].Reveal(), ""); got.status != http.StatusNotFound {
		t.Errorf("without a registry: %d, want 404", got.status)
	}
}

func TestRegistryUseDoesNotTakeTheTokenUp(t *testing.T) {
	b, g := withRegistry(t, 8200)
	b.ask("GET", "/v2/", b.tokens[8200].Reveal(), "")
	if r, err := b.store.Get(8200); err != nil || r.Current.FirstUsed != nil {
		t.Errorf("record %+v, %v: a pull ends the token before", r.Current, err)
	}
	if !g.last.IsValid() {
		t.Error("the token is valid, and the registry is told it is not")
	}
	if err := b.store.Replace(t.Context(), 8200, nil); err != nil {
		t.Fatal(err)
	}
	b.advance(2 * time.Second)
	if g.last.IsValid() {
		t.Error("the guest is gone, and its token still valid")
	}
}

func TestRegistryRowsAreInTheTable(t *testing.T) {
	b, _ := withRegistry(t, 8200)
	var rows []string
	for _, r := range b.Routes() {
		if r.Right == api.OwnImages {
			rows = append(rows, r.Method+" "+r.Path)
		}
	}
	if got := strings.Join(rows, ", "); got != "GET /v2/, HEAD /v2/" {
		t.Errorf("rows %q", got)
	}
}

// An engine begins each pull without a token: that is not a failure to count or to log.
func TestRegistryAsksForTheTokenAnyNumberOfTimes(t *testing.T) {
	b, _ := withRegistry(t, 8200)
	for range 100 {
		if got := b.ask("GET", "/v2/", "", ""); got.status != 401 {
			t.Fatalf("%d, want 401", got.status)
		}
	}
	if n := b.count(api.TokenRefused); n != 0 {
		t.Errorf("%d events", n)
	}
	if got := b.ask("GET", "/v2/", "", "", authorize("Bearer x")); got.status != 401 || b.count(api.TokenRefused) != 1 {
		t.Errorf("a wrong token afterwards: %d, %d events, want its own", got.status, b.count(api.TokenRefused))
	}
}
