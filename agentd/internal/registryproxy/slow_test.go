package registryproxy_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// A registry, or its token server, that begins an answer and does not end it, or
// sends a byte from time to time, holds a guest's request for a bounded time.
func TestASlowManifest(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	dribble := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(1<<20))
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			<-tick.C
		}
	}
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, slow := range map[string]func(http.ResponseWriter, *http.Request){"a byte from time to time": dribble, "nothing": silent} {
		for where, is := range map[string]func(r *http.Request) bool{
			"manifest": func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") },
			"token":    func(r *http.Request) bool { return r.URL.Path == "/token" },
		} {
			t.Run(where+", "+name, func(t *testing.T) {
				up.set(func(w http.ResponseWriter, r *http.Request) bool {
					switch {
					case is(r):
						w.Header().Set("Content-Type", indexType)
						slow(w, r)
					case where == "token":
						w.Header().Set("WWW-Authenticate", `Bearer realm="`+up.URL+`/token"`)
						w.WriteHeader(http.StatusUnauthorized)
					default:
						return false
					}
					return true
				})
				b := newBed(t, up, withLimits(registryproxy.Limits{Answer: 300 * time.Millisecond}))
				for _, path := range []string{manifestPath("v1"), blobPath(i.layerHash)} {
					got := b.get(t, path)
					if got.status != http.StatusGatewayTimeout {
						t.Errorf("%s: %.300s, want 504; %s", path, got.all(), b.faults())
					}
					assertNothingLeaks(t, path, got)
				}
			})
		}
	}
}

// A blob whose manifest is known needs a new token when the one before has ended.
func TestASlowTokenForABlob(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	for name, slow := range map[string]func(w http.ResponseWriter, r *http.Request){
		"nothing": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"an answer without an end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"token":"`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var isSlow atomic.Bool
			up.set(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Path == "/token" && isSlow.Load():
					slow(w, r)
				case r.URL.Path == "/token":
					_, _ = io.WriteString(w, `{"token":"good"}`)
				case r.Header.Get("Authorization") == "Bearer good":
					return false
				default:
					w.Header().Set("WWW-Authenticate", `Bearer realm="`+up.URL+`/token"`)
					w.WriteHeader(http.StatusUnauthorized)
				}
				return true
			})
			b := newBed(t, up, withLimits(registryproxy.Limits{Answer: 300 * time.Millisecond}))
			b.allow(registryproxy.Image{Host: up.host, Repository: repository, Digest: i.digest})
			waitFor(t, func() []byte { // a busy machine takes longer than the limit
				if got := b.get(t, manifestPath(i.digest.String())); got.status == http.StatusOK {
					return got.body
				}
				return nil
			})
			isSlow.Store(true)
			b.advance(2 * time.Hour)
			before := len(b.failed())
			got := b.get(t, blobPath(i.layerHash))
			if got.status != http.StatusGatewayTimeout || len(b.failed()) != before+1 || strings.Contains(b.faults(), "context") {
				t.Errorf("%.300s, want 504; %s", got.all(), b.faults())
			}
		})
	}
}

// The limit on headers holds for every answer of a registry.
func TestHeaderBombs(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	bomb := func(w http.ResponseWriter) {
		for n := range 200 {
			w.Header().Set("X-"+strconv.Itoa(n), strings.Repeat("a", 1000))
		}
	}
	for where, handle := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"blob": func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/blobs/") {
				bomb(w)
			}
			return false
		},
		"refusal": func(w http.ResponseWriter, _ *http.Request) bool {
			bomb(w)
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			bomb(w)
			http.Redirect(w, r, "/v2/team/app/blobs/moved", http.StatusFound)
			return true
		},
		"token": func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				bomb(w)
				_, _ = io.WriteString(w, `{"token":"good"}`)
				return true
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+up.URL+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
	} {
		t.Run(where, func(t *testing.T) {
			up.set(handle)
			b := newBed(t, up)
			got := b.get(t, blobPath(i.layerHash))
			if got.status != http.StatusBadGateway || !strings.Contains(b.faults(), "header") || len(b.faults()) > 1000 {
				t.Errorf("%.300s, want 502; %.2000s", got.all(), b.faults())
			}
			assertNothingLeaks(t, where, got)
		})
	}
}
