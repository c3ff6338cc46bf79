package registryproxy_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

func TestCheck(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	withToken := func(tok string) func() {
		return func() {
			up.set(func(w http.ResponseWriter, r *http.Request) bool {
				u, p, _ := r.BasicAuth()
				switch {
				case r.URL.Path == "/token" && u == user && p == password:
					_ = json.NewEncoder(w).Encode(map[string]string{"token": tok})
				case r.URL.Path != "/token" && r.Header.Get("Authorization") == "Bearer "+tok && r.URL.Path != "/v2/":
					return false
				default:
					w.Header().Set("WWW-Authenticate", `Bearer realm="`+up.URL+`/token",service="s"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
				return true
			})
		}
	}
	cases := []struct {
		name      string
		prepare   func()
		password  string
		tag       string
		way, push string
		credential,
		temporary bool // of the error
	}{
		{"no credential needed", func() { up.put("", "", nil); up.set(nil) }, password, "v1", "none", "unknown", false, false},
		{"password", func() { basic(up) }, password, "v1", "password", "unknown", false, false},
		{"wrong password", func() { basic(up) }, "wrong", "v1", "", "", true, false},
		{"token that pushes", withToken(jwt(`{"access":[{"type":"repository","name":"team/app","actions":["pull","push"]}]}`)), password, "v1", "token", "yes", false, false},
		{"token that pulls", withToken(jwt(`{"access":[{"type":"repository","name":"team/app","actions":["pull"]}]}`)), password, "v1", "token", "no", false, false},
		{"opaque token", withToken("opaque"), password, "v1", "token", "unknown", false, false},
		{"wrong password for tokens", withToken("opaque"), "wrong", "v1", "", "", true, false},
		{"no such tag", func() { basic(up) }, password, "v9", "", "", false, false},
		{"busy", func() {
			up.set(func(w http.ResponseWriter, _ *http.Request) bool {
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			})
		}, password, "v1", "", "", false, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.prepare()
			up.forget()
			b := &bed{user: user, password: c.password}
			r := registryproxy.Registry{Host: up.host, Roots: up.roots, Credential: b.credential}
			got, err := registryproxy.Check(t.Context(), r, []registryproxy.Image{{Host: up.host, Repository: repository, Tag: c.tag}})
			for _, req := range up.seen() {
				if req.Method != http.MethodGet {
					t.Errorf("%s %s: a check writes", req.Method, req.URL)
				}
			}
			if c.way == "" {
				fault, ok := errors.AsType[*registryproxy.Error](err)
				if !ok || fault.IsCredential() != c.credential || fault.IsTemporary() != c.temporary {
					t.Errorf("error %v, want one about the credential: %v", err, c.credential)
				}
				if strings.Contains(fmt.Sprint(err), c.password) {
					t.Errorf("the error holds the password: %v", err)
				}
				return
			}
			if err != nil || got.Way != c.way || got.Push != c.push || len(got.Images) != 1 || got.Images[0].Digest != i.indexDigest.String() {
				t.Errorf("%+v, %v, want %s and %s", got, err, c.way, c.push)
			}
		})
	}
}
