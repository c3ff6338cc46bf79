package docker

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	answer := func(code int, header map[string]string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				t.Error("the probe sent a credential")
			}
			for k, v := range header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(code)
		}
	}
	registry := map[string]string{"Docker-Distribution-Api-Version": "registry/2.0"}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		trusted bool
		want    Kind
		after   time.Duration
	}{
		{"registry", answer(401, registry), true, "", 0},
		{"untrusted", answer(401, registry), false, UntrustedTLS, 0},
		{"login page", answer(200, nil), true, NotARegistry, 0},
		{"redirect", answer(302, map[string]string{"Location": "https://portal.example/"}), true, NotARegistry, 0},
		{"page of a firewall", answer(403, nil), true, NotARegistry, 0},
		{"registry that refuses", answer(403, registry), true, "", 0},
		{"rate limit", answer(429, map[string]string{"Retry-After": "17"}), true, RateLimited, 17 * time.Second},
		{"trouble", answer(503, nil), true, RegistryBusy, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewTLSServer(test.handler)
			defer server.Close()
			host := strings.TrimPrefix(server.URL, "https://")
			certs := t.TempDir()
			if test.trusted {
				writeCert(t, filepath.Join(certs, host), server.Certificate().Raw)
			}
			got := ProbeRegistry(t.Context(), certs, host)
			if got.Kind != test.want || got.RetryAfter != test.after || (got.Err == nil) != (test.want == "") {
				t.Errorf("probe %+v, want kind %q and %s", got, test.want, test.after)
			}
		})
	}
	for _, test := range []struct {
		name   string
		status int
		header map[string]string
		want   Kind
	}{
		{"token", 200, map[string]string{"Content-Type": "application/json"}, ""},
		{"refusal", 401, map[string]string{"Content-Type": "application/json"}, ""},
		{"guarded by a web server", 401, map[string]string{"Content-Type": "text/html", "Www-Authenticate": `Basic realm="r"`}, ""},
		{"login page", 200, map[string]string{"Content-Type": "text/html; charset=utf-8"}, NotARegistry},
		{"login page 401", 401, map[string]string{"Content-Type": "text/html"}, NotARegistry},
		{"redirect to a login page", 302, map[string]string{"Content-Type": "text/html", "Location": "https://portal.example/"}, NotARegistry},
		{"trouble", 503, map[string]string{"Content-Type": "text/html"}, ""},
	} {
		t.Run("realm: "+test.name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					answer(test.status, test.header)(w, r)
					return
				}
				answer(401, map[string]string{"Www-Authenticate": `Bearer service="s",realm="https://` + r.Host + `/token"`})(w, r)
			}))
			defer server.Close()
			host, certs := strings.TrimPrefix(server.URL, "https://"), t.TempDir()
			writeCert(t, filepath.Join(certs, host), server.Certificate().Raw)
			if got := ProbeRegistry(t.Context(), certs, host); got.Kind != test.want || (got.Err == nil) != (test.want == "") {
				t.Errorf("probe %+v, want kind %q", got, test.want)
			}
		})
	}
	plain := httptest.NewServer(answer(200, registry))
	defer plain.Close()
	if got := ProbeRegistry(t.Context(), t.TempDir(), strings.TrimPrefix(plain.URL, "http://")); got.Kind != PlainHTTP {
		t.Errorf("plain HTTP: %+v", got)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	if got := ProbeRegistry(t.Context(), t.TempDir(), strings.TrimPrefix(gone.URL, "http://")); got.Kind != Unreachable {
		t.Errorf("no process there: %+v", got)
	}
}
