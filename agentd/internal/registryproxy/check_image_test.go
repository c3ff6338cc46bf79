package registryproxy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// The credential is proven even if no manifest shows it: guests may pull from a
// whole repository, or the configuration names no image of the registry.
func TestCheckWithoutAnImage(t *testing.T) {
	up := newUpstream(t)
	up.push(t, repository, "v1", "one")
	up.put("", "", nil)
	withTokens := func() {
		up.set(func(w http.ResponseWriter, r *http.Request) bool {
			u, p, _ := r.BasicAuth()
			switch {
			case r.URL.Path == "/token" && u == user && p == password:
				_ = json.NewEncoder(w).Encode(map[string]string{"token": "opaque"})
			case r.URL.Path != "/token" && r.Header.Get("Authorization") == "Bearer opaque":
				return false
			case r.URL.Path == "/token":
				w.WriteHeader(http.StatusUnauthorized)
			default:
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+up.URL+`/token",service="s"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
			return true
		})
	}
	for what, images := range map[string][]registryproxy.Image{
		"a whole repository": {{Host: up.host, Repository: repository}},
		"no image":           nil,
	} {
		for way, prepare := range map[string]func(){"token": withTokens, "password": func() { basic(up) }} {
			for _, secret := range []string{password, "wrong"} {
				t.Run(fmt.Sprintf("%s, %s, %s", what, way, secret), func(t *testing.T) {
					prepare()
					b := &bed{user: user, password: secret}
					got, err := registryproxy.Check(t.Context(), registryproxy.Registry{Host: up.host, Roots: up.roots, Credential: b.credential}, images)
					if secret == password {
						if err != nil || got.Way != way {
							t.Errorf("%+v, %v, want it to work", got, err)
						}
						return
					}
					if fault, ok := errors.AsType[*registryproxy.Error](err); !ok || !fault.IsCredential() {
						t.Errorf("%+v, %v, want a refused credential", got, err)
					}
					if strings.Contains(fmt.Sprint(err), secret) {
						t.Errorf("the error holds the password: %v", err)
					}
				})
			}
		}
	}
}

// Without a credential and an image there is nothing to prove: token servers may
// refuse who wants no repository and does not say who it is.
func TestCheckWithoutACredential(t *testing.T) {
	up := newUpstream(t)
	up.set(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token" && r.URL.Query().Has("scope"):
			_ = json.NewEncoder(w).Encode(map[string]string{"token": "opaque"})
		case r.URL.Path == "/token":
			w.WriteHeader(http.StatusForbidden)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+up.URL+`/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
		return true
	})
	for _, images := range [][]registryproxy.Image{nil, {{Host: up.host, Repository: repository}}} {
		if got, err := registryproxy.Check(t.Context(), registryproxy.Registry{Host: up.host, Roots: up.roots}, images); err != nil || got.Way != "token" {
			t.Errorf("%v: %+v, %v, want it to work", images, got, err)
		}
	}
}
