package registryproxy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// basic makes the upstream want user name and password.
func basic(up *upstream) {
	up.set(func(w http.ResponseWriter, r *http.Request) bool {
		if u, p, _ := r.BasicAuth(); u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="upstream"`)
		http.Error(w, "upstream's own words", http.StatusUnauthorized)
		return true
	})
}

// realm makes the upstream want tokens of the server at url.
func realm(up *upstream, url string, valid func(token string) bool) {
	up.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			return false
		}
		if valid(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")) {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="upstream service",scope="repository:team/app:pull,push"`, url))
		http.Error(w, "upstream's own words", http.StatusUnauthorized)
		return true
	})
}

// assertNothingLeaks looks for what must not cross in a guest's answer.
func assertNothingLeaks(t *testing.T, what string, a answer) {
	t.Helper()
	for _, secret := range []string{password, "own words", "session=", "internal-name", "WWW-Authenticate", "Www-Authenticate", "Location", "signature"} {
		if strings.Contains(a.all(), secret) {
			t.Errorf("%s: the guest sees %q: %.300s", what, secret, a.all())
		}
	}
	for name := range a.header {
		switch name {
		case "Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Docker-Content-Digest", "Etag", "Docker-Distribution-Api-Version", "Date", "Retry-After", "Connection", "Allow":
		default:
			t.Errorf("%s: the guest gets header %s", what, name)
		}
	}
}

// assertNothingOfTheGuest looks for the guest's headers in the upstream's requests.
func assertNothingOfTheGuest(t *testing.T, up *upstream) {
	t.Helper()
	for _, r := range up.seen() {
		text := fmt.Sprint(r.URL, r.Header)
		for _, secret := range []string{guestToken, "guest=cookie", "guest-header", "ns=", "of-the-guest"} {
			if strings.Contains(text, secret) {
				t.Errorf("the upstream sees %q: %s", secret, text)
			}
		}
		for name := range r.Header {
			switch name {
			case "Authorization", "User-Agent", "Accept", "Range":
			default:
				t.Errorf("the upstream gets header %s", name)
			}
		}
	}
}

func headersOfBothSides(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	basic(up)
	b := newBed(t, up)
	for _, path := range []string{manifestPath("v1"), manifestPath(i.digest.String()), blobPath(i.layerHash), manifestPath("v1") + "?ns=" + up.host + "&x=of-the-guest", "/v2/", "/v2/team/none/manifests/v1"} {
		got := b.get(t, path, "Accept", "of-the-guest", "Proxy-Authorization", "of-the-guest", "X-Forwarded-For", "of-the-guest", "If-None-Match", "of-the-guest", "Referer", "of-the-guest", "Connection", "X-Guest")
		assertNothingLeaks(t, path, got)
	}
	assertNothingOfTheGuest(t, up)
}

func TestBasicAndToken(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	var fetched atomic.Int32
	tokens := newUpstream(t)
	tokens.roots = up.roots
	up.roots.AddCert(tokens.Certificate())
	tokens.set(func(w http.ResponseWriter, r *http.Request) bool {
		u, p, _ := r.BasicAuth()
		if u != user || p != password {
			http.Error(w, "upstream's own words", http.StatusUnauthorized)
			return true
		}
		if got := r.URL.Query(); got.Get("scope") != "repository:team/app:pull" || got.Get("service") != "upstream service" {
			t.Errorf("token request %s, want the scope pull alone", r.URL)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"token": "token-" + strconv.Itoa(int(fetched.Add(1))), "expires_in": 300})
		return true
	})
	host := strings.TrimPrefix(tokens.URL, "https://")
	for name, prepare := range map[string]func(){
		"basic": func() { basic(up) },
		"token": func() {
			realm(up, tokens.URL+"/token", func(tok string) bool { return tok == "token-"+strconv.Itoa(int(fetched.Load())) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			prepare()
			b := newBed(t, up, withRegistry(func(r *registryproxy.Registry) { r.TokenHosts = []string{host} }))
			for _, path := range []string{manifestPath("v1"), manifestPath(i.digest.String()), blobPath(i.layerHash), blobPath(i.configDigest)} {
				got := b.get(t, path)
				if got.status != 200 {
					t.Errorf("%s: %s; %s", path, got.all(), b.faults())
				}
				assertNothingLeaks(t, path, got)
			}
			if name != "token" {
				return
			}
			if n := fetched.Load(); n != 1 {
				t.Errorf("%d tokens were fetched, want one for all", n)
			}
			fetched.Add(1) // the server ends all tokens
			if got := b.get(t, blobPath(i.layerHash)); got.status != 200 {
				t.Errorf("after the token's end: %d; %s", got.status, b.faults())
			}
			if n := fetched.Load(); n != 3 {
				t.Errorf("%d tokens, want one more", n)
			}
			fetched.Store(1)
			b.advance(time.Hour) // its life is over: it is not even tried
			up.forget()
			b.get(t, blobPath(i.layerHash))
			for _, r := range up.seen() {
				if r.Header.Get("Authorization") == "Bearer token-3" {
					t.Error("a token is used after its end")
				}
			}
		})
	}
}

func TestARefusedCredential(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	refusals := map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"wrong password": nil,
		"403 for all": func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "upstream's own words", http.StatusForbidden)
			return true
		},
		"401 without a challenge": func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "upstream's own words", http.StatusUnauthorized)
			return true
		},
		"a challenge that is not one": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+up.host+`/tok`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
	}
	for name, handle := range refusals {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, up)
			if handle == nil {
				basic(up)
				b.setPassword("another")
			} else {
				up.set(handle)
			}
			for range 20 {
				for _, path := range []string{manifestPath("v1"), blobPath(i.layerHash)} {
					got := b.get(t, path)
					if got.status != http.StatusBadGateway || !strings.Contains(string(got.body), "registry check") || !json.Valid(got.body) {
						t.Fatalf("%s: %s", path, got.all())
					}
					assertNothingLeaks(t, path, got)
				}
			}
			if n := len(b.failed()); n != 1 {
				t.Errorf("%d lines in a minute, want one: %s", n, b.faults())
			}
			if strings.Contains(b.faults(), "another") || strings.Contains(b.faults(), password) {
				t.Errorf("the log holds the password: %s", b.faults())
			}
			if len(b.lines()) != 0 {
				t.Errorf("lines of pulls: %+v", b.lines())
			}
			b.advance(61 * time.Second)
			b.get(t, manifestPath("v1"))
			if n := len(b.failed()); n != 2 {
				t.Errorf("%d lines after a minute, want two", n)
			}
			if name == "wrong password" { // put right, it works at once
				b.setPassword(password)
				if got := b.get(t, blobPath(i.layerHash)); got.status != 200 {
					t.Errorf("with the right password: %s", got.all())
				}
			}
		})
	}
}

// The registry names who gets the credential. Another host gets nothing.
func foreignRealm(t *testing.T) {
	up := newUpstream(t)
	up.push(t, repository, "v1", "one")
	foreign := newUpstream(t)
	up.roots.AddCert(foreign.Certificate())
	plain := httptest.NewServer(foreign)
	t.Cleanup(plain.Close)
	for name, url := range map[string]string{
		"another host":            foreign.URL + "/token",
		"plain HTTP":              "http://" + up.host + "/token",
		"plain HTTP of a server":  plain.URL + "/token",
		"a user name":             "https://" + up.host + "@" + strings.TrimPrefix(foreign.URL, "https://") + "/token",
		"credentials in it":       "https://u:p@" + up.host + "/token",
		"metadata":                "http://169.254.169.254/latest/meta-data",
		"metadata over TLS":       "https://169.254.169.254/latest/meta-data",
		"no host":                 "https:///token",
		"opaque":                  "https:" + strings.TrimPrefix(foreign.URL, "https:"),
		"the host as a directory": foreign.URL + "/" + up.host,
		"the host with a suffix":  "https://" + up.host + ".evil.example/token",
		"another port":            "https://127.0.0.1:1/token",
		"a file":                  "file:///etc/passwd",
		"empty":                   "",
	} {
		t.Run(name, func(t *testing.T) {
			realm(up, url, func(string) bool { return false })
			// Nothing but the rule keeps the proxy off: certificate and address are
			// good, and of the plain server the host is too.
			b := newBed(t, up, withRegistry(func(r *registryproxy.Registry) { r.TokenHosts = []string{strings.TrimPrefix(plain.URL, "http://")} }))
			b.AllowAnyAddress(&registryproxy.Registry{Roots: up.roots})
			got := b.get(t, manifestPath("v1"))
			if got.status != http.StatusBadGateway {
				t.Errorf("%s", got.all())
			}
			assertNothingLeaks(t, name, got)
			if n := len(foreign.seen()); n != 0 {
				t.Fatalf("%d requests reached the foreign host", n)
			}
			for _, r := range up.seen() {
				if r.Header.Get("Authorization") != "" {
					t.Errorf("the credential went out: %s", r.URL)
				}
			}
			up.forget()
		})
	}
	t.Run("redirected by the token server", func(t *testing.T) {
		up.set(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				http.Redirect(w, r, foreign.URL+"/token", http.StatusTemporaryRedirect)
				return true
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+up.URL+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		b := newBed(t, up)
		b.AllowAnyAddress(&registryproxy.Registry{Roots: up.roots})
		if got := b.get(t, manifestPath("v1")); got.status != http.StatusBadGateway || len(foreign.seen()) != 0 {
			t.Errorf("%s; %d requests reached the foreign host", got.all(), len(foreign.seen()))
		}
	})
}

func TestTokenAnswers(t *testing.T) {
	up := newUpstream(t)
	up.push(t, repository, "v1", "one")
	for name, c := range map[string]struct {
		status int
		body   string
		want   int
	}{
		"access_token":      {200, `{"access_token":"good"}`, 200},
		"odd life":          {200, `{"token":"good","expires_in":-5e300}`, 200},
		"endless life":      {200, `{"token":"good","expires_in":1e300}`, 200},
		"page":              {200, "<html>log in</html>", 502},
		"no token":          {200, `{}`, 502},
		"header in a token": {200, `{"token":"good\r\nX-Evil: 1"}`, 502},
		"huge":              {200, `{"token":"` + strings.Repeat("a", 70<<10) + `"}`, 502},
		"refused":           {401, `{}`, 502},
		"limited":           {429, `{}`, 429},
		"busy":              {503, `{}`, 503},
		"broken":            {500, `{}`, 502},
	} {
		t.Run(name, func(t *testing.T) {
			up.set(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Path == "/token":
					w.Header().Set("Retry-After", "7")
					w.WriteHeader(c.status)
					_, _ = io.WriteString(w, c.body)
				case r.Header.Get("Authorization") == "Bearer good":
					return false
				default:
					w.Header().Set("WWW-Authenticate", `Bearer realm="`+up.URL+`/token"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
				return true
			})
			b := newBed(t, up)
			got := b.get(t, manifestPath("v1"))
			if got.status != c.want {
				t.Errorf("%s, want %d; %s", got.all(), c.want, b.faults())
			}
			if (c.want == 429 || c.want == 503) && got.header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After %q, want 7", got.header.Get("Retry-After"))
			}
		})
	}
}

func redirects(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	store := newUpstream(t) // object storage
	store.put("layer", "text/plain", i.layer)
	up.roots.AddCert(store.Certificate())
	storeHost := strings.TrimPrefix(store.URL, "https://")
	_, port, _ := strings.Cut(storeHost, ":")
	plain := httptest.NewServer(store)
	t.Cleanup(plain.Close)
	redirect := func(location string) {
		up.set(func(w http.ResponseWriter, r *http.Request) bool {
			if u, p, _ := r.BasicAuth(); u != user || p != password {
				w.Header().Set("WWW-Authenticate", `Basic realm="upstream"`)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			if !strings.Contains(r.URL.Path, "/blobs/") || r.URL.Query().Has("again") {
				return false
			}
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return true
		})
	}
	t.Run("to a configured host", func(t *testing.T) {
		redirect(store.URL + "/v2/layer?signature=1234#fragment")
		b := newBed(t, up, withRegistry(func(r *registryproxy.Registry) { r.BlobHosts = []string{storeHost} }))
		got := b.get(t, blobPath(i.layerHash))
		if got.status != 200 || !bytes.Equal(got.body, i.layer) {
			t.Errorf("%d, %d bytes; %s", got.status, len(got.body), b.faults())
		}
		assertNothingLeaks(t, "blob", got)
		part := b.get(t, blobPath(i.layerHash), "Range", "bytes=5-9")
		if part.status != 206 || string(part.body) != string(i.layer[5:10]) {
			t.Errorf("a part: %d %q", part.status, part.body)
		}
		for _, r := range store.seen() {
			if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
				t.Errorf("the storage got %v", r.Header)
			}
		}
		assertNothingOfTheGuest(t, store)
		store.set(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return true })
		if got := b.get(t, blobPath(i.layerHash)); got.status != http.StatusBadGateway {
			t.Errorf("the storage refuses: %d, want 502", got.status)
		}
		store.set(nil)
	})
	t.Run("to a public host", func(t *testing.T) {
		redirect(store.URL + "/v2/layer")
		b := newBed(t, up)
		b.AllowAnyAddress(&registryproxy.Registry{Roots: up.roots})
		if got := b.get(t, blobPath(i.layerHash)); got.status != 200 {
			t.Errorf("%s; %s", got.all(), b.faults())
		}
	})
	t.Run("to plain HTTP of a configured host", func(t *testing.T) {
		store.forget()
		redirect(plain.URL + "/v2/layer")
		b := newBed(t, up, withRegistry(func(r *registryproxy.Registry) { r.BlobHosts = []string{strings.TrimPrefix(plain.URL, "http://")} }))
		if got := b.get(t, blobPath(i.layerHash)); got.status != http.StatusBadGateway || len(store.seen()) != 0 {
			t.Errorf("%d; %d requests went over plain HTTP", got.status, len(store.seen()))
		}
	})
	store.CloseClientConnections()
	store.forget()
	connections := store.connections.Load()
	for name, location := range map[string]string{
		"loopback":        store.URL + "/v2/layer",
		"a loopback name": "https://localhost:" + port + "/v2/layer",
		"mapped loopback": "https://[::ffff:127.0.0.1]:" + port + "/v2/layer",
		"any address":     "https://0.0.0.0:" + port + "/v2/layer",
		"a short form":    "https://127.1:" + port + "/v2/layer",
		"decimal":         "https://2130706433:" + port + "/v2/layer",
		"metadata":        "https://169.254.169.254/latest/meta-data",
		"plain HTTP":      plain.URL + "/v2/layer",
		"metadata plain":  "http://169.254.169.254/latest/meta-data",
		"private":         "https://10.255.255.1/layer",
		"a file":          "file:///etc/passwd",
		"with a password": "https://u:p@" + storeHost + "/v2/layer",
		"empty":           "",
		"not a URL":       "https://[::1/",
		"no scheme":       "//" + storeHost + "/v2/layer",
		"no host":         "https:/layer",
	} {
		t.Run(name, func(t *testing.T) {
			redirect(location)
			b := newBed(t, up)
			got := b.get(t, blobPath(i.layerHash))
			if got.status != http.StatusBadGateway {
				t.Errorf("%.300s; %s", got.all(), b.faults())
			}
			assertNothingLeaks(t, name, got)
			if n := store.connections.Load() - connections; n != 0 {
				t.Errorf("%d connections reached the address", n)
			}
		})
	}
	t.Run("in circles", func(t *testing.T) {
		up.forget()
		redirect(up.URL + "/v2/team/app/blobs/x")
		b := newBed(t, up)
		if got := b.get(t, blobPath(i.layerHash)); got.status != http.StatusBadGateway || len(up.seen()) > 20 {
			t.Errorf("%s after %d requests", got.all(), len(up.seen()))
		}
	})
	t.Run("to the registry itself", func(t *testing.T) {
		up.put("team/app/blobs/moved", "text/plain", i.layer)
		up.forget()
		up.set(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == blobPath(i.layerHash) {
				http.Redirect(w, r, "/v2/team/app/blobs/moved", http.StatusFound)
				return true
			}
			if strings.HasSuffix(r.URL.Path, "/moved") && r.Header.Get("Authorization") != "" {
				t.Error("the credential was sent to where it was redirected")
			}
			return false
		})
		b := newBed(t, up)
		if got := b.get(t, blobPath(i.layerHash)); got.status != 200 {
			t.Errorf("%s; %s", got.all(), b.faults())
		}
	})
}

func wrongManifests(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	two := up.push(t, repository, "v2", "two")
	answerWith := func(kind, digest string, body []byte) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", kind)
			if digest != "" {
				w.Header().Set("Docker-Content-Digest", digest)
			}
			_, _ = w.Write(body)
			return true
		}
	}
	both := []byte(`{"schemaVersion":2,"config":{"digest":"` + i.configDigest.String() + `"},"layers":[],"manifests":[{"digest":"` + i.digest.String() + `"}]}`)
	many := []byte(`{"schemaVersion":2,"manifests":[` + strings.Repeat(`{"digest":"`+i.digest.String()+`"},`, 1001) + `{"digest":"` + i.digest.String() + `"}]}`)
	for name, handle := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"another one's digest": answerWith(indexType, i.indexDigest.String(), two.index),
		"a broken digest":      answerWith(indexType, "sha256:00", i.index),
		"another algorithm":    answerWith(indexType, "sha512:"+strings.Repeat("0", 128), i.index),
		"a page":               answerWith("text/html", "", []byte("<html>")),
		"no type":              answerWith("", "", i.index),
		"schema 1":             answerWith("application/vnd.docker.distribution.manifest.v1+prettyjws", "", []byte(`{"schemaVersion":1}`)),
		"two types":            answerWith(imageType, "", i.index),
		"two shapes":           answerWith(indexType, "", both),
		"too many entries":     answerWith(indexType, "", many),
		"not JSON":             answerWith(indexType, "", []byte("{")),
		"a negative size":      answerWith(indexType, "", []byte(`{"schemaVersion":2,"manifests":[{"digest":"`+i.digest.String()+`","size":-1}]}`)),
		"too large":            answerWith(indexType, "", bytes.Repeat([]byte(" "), 4<<20+1)),
		"endless": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", indexType)
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return true
				}
			}
			return true
		},
		"encoded": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", indexType)
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(i.index)
			return true
		},
		"incomplete": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", indexType)
			w.Header().Set("Content-Length", "5000")
			_, _ = w.Write(i.index)
			return true
		},
		"a header bomb": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", indexType)
			for n := range 2000 {
				w.Header().Set("X-"+strconv.Itoa(n), strings.Repeat("a", 1000))
			}
			_, _ = w.Write(i.index)
			return true
		},
		"a status of its own": func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusTeapot); return true },
		"500": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		},
		"part": func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusPartialContent)
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			up.set(handle)
			b := newBed(t, up)
			got := b.get(t, manifestPath("v1"))
			if got.status != http.StatusBadGateway {
				t.Errorf("%.200s", got.all())
			}
			if len(b.failed()) != 1 || len(b.faults()) > 1000 {
				t.Errorf("faults: %.2000s", b.faults())
			}
			assertNothingLeaks(t, name, got)
		})
	}
	t.Run("another one for a digest", func(t *testing.T) {
		up.set(answerWith(indexType, "", two.index))
		b := newBed(t, up)
		b.allow(registryproxy.Image{Host: up.host, Repository: repository, Digest: i.indexDigest})
		if got := b.get(t, manifestPath(i.indexDigest.String())); got.status != http.StatusBadGateway {
			t.Errorf("%.200s", got.all())
		}
	})
}

func TestStatusesThatPassOn(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	for _, c := range []struct {
		status     int
		retryAfter string
		want       int
		wantAfter  string
	}{
		{429, "17", 429, "17"},
		{503, "5", 503, "5"},
		{429, "evil\r\nX: 1", 429, ""},
		{429, "99999999", 429, "3600"},
		{503, "-1", 503, "1"},
		{404, "", 404, ""},
		{500, "", 502, ""},
		{301, "", 502, ""},
	} {
		for _, path := range []string{manifestPath("v1"), blobPath(i.layerHash)} {
			up.set(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.Contains(path, "/blobs/") && strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				w.Header().Set("Retry-After", c.retryAfter)
				http.Error(w, "upstream's own words", c.status)
				return true
			})
			b := newBed(t, up)
			got := b.get(t, path)
			if got.status != c.want || got.header.Get("Retry-After") != c.wantAfter || !json.Valid(got.body) {
				t.Errorf("%d %q on %s: %s", c.status, c.retryAfter, path, got.all())
			}
			assertNothingLeaks(t, path, got)
		}
	}
	up.CloseClientConnections()
	up.Close()
	b := newBed(t, up)
	if got := b.get(t, manifestPath("v1")); got.status != http.StatusBadGateway || !strings.Contains(string(got.body), "cannot be reached") {
		t.Errorf("the registry is down: %s; %s", got.all(), b.faults())
	}
}

func TestMemoryStaysFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 256 MiB")
	}
	up := newUpstream(t)
	const size = 64 << 20
	zeros := make([]byte, size)
	digest := digestOf(zeros)
	up.put(repository+"/blobs/"+digest.String(), "", zeros)
	b := newBed(t, up)
	b.allow(registryproxy.Image{Host: up.host, Repository: repository})
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 4 {
		resp, err := http.Get(b.server.URL + blobPath(digest))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil || n != size {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > size { // with what the test's own client and registry allocate
		t.Errorf("%d bytes were allocated for %d that passed through", grown, 4*size)
	}
}
