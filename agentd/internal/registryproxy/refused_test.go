package registryproxy_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// withSecret counts the requests that the upstream got with a password.
func withSecret(up *upstream) (n int) {
	for _, r := range up.seen() {
		if _, _, ok := r.BasicAuth(); ok {
			n++
		}
	}
	return n
}

// Guests that ask again and again must not have the host repeat a password that
// is refused: registries lock accounts out for that.
func TestARefusedPasswordIsNotRepeated(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	paths := []string{manifestPath("v1"), blobPath(i.layerHash), manifestPath(i.digest.String()), blobPath(i.configDigest)}
	tokens := func(status int) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/token" {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+up.URL+`/token",service="s"`)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(map[string]string{"token": "of-no-use"})
			return true
		}
	}
	for name, handle := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"password": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Basic realm="upstream"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
		"password, forbidden": func(w http.ResponseWriter, r *http.Request) bool {
			if _, _, ok := r.BasicAuth(); ok {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="upstream"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
		"token server refuses":       tokens(http.StatusUnauthorized),
		"token server forbids":       tokens(http.StatusForbidden),
		"token server says bad":      tokens(http.StatusBadRequest),
		"its token is refused":       tokens(http.StatusOK),
		"forbidden without a reason": func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusForbidden); return true },
	} {
		t.Run(name, func(t *testing.T) {
			up.set(handle)
			up.forget()
			b := newBed(t, up)
			b.allow(registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1"}, registryproxy.Image{Host: up.host, Repository: repository, Digest: i.indexDigest})
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					for _, path := range paths {
						if got := b.get(t, path); got.status != http.StatusBadGateway || !strings.Contains(string(got.body), "registry check") {
							t.Errorf("%s: %s", path, got.all())
						}
					}
				})
			}
			all.Wait()
			if n := withSecret(up); n > 1 {
				t.Errorf("the password was sent %d times, want once", n)
			}
			if n := len(up.seen()); n > 20 {
				t.Errorf("the registry was asked %d times for 40 requests, want a few", n)
			}
			if n := len(b.failed()); n != 1 {
				t.Errorf("%d lines, want one:\n%s", n, b.faults())
			}
			before := withSecret(up)
			b.advance(61 * time.Second)
			for range 5 {
				b.get(t, manifestPath("v1"))
			}
			if n := withSecret(up) - before; n > 1 || n == 0 && before > 0 {
				t.Errorf("after a minute the password was sent %d times, want once", n)
			}
			if n := len(b.failed()); n != 2 {
				t.Errorf("%d lines after a minute, want two:\n%s", n, b.faults())
			}
			// Another password is tried at once.
			b.setPassword("a-new-one")
			before = len(up.seen())
			b.get(t, manifestPath("v1"))
			if len(up.seen()) == before {
				t.Error("a changed password is not tried")
			}
		})
	}
}

// The account may have no right to one repository: the others are still pulled.
func TestARefusalOfOneRepositoryIsItsOwn(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	up.push(t, "team/closed", "v1", "two")
	for name, status := range map[string]int{"401": http.StatusUnauthorized, "403": http.StatusForbidden} {
		t.Run(name, func(t *testing.T) {
			for _, first := range []string{repository, "team/closed"} {
				up.set(func(w http.ResponseWriter, r *http.Request) bool {
					u, p, _ := r.BasicAuth()
					isRight := u == user && p == password
					if isRight && !strings.Contains(r.URL.Path, "team/closed") {
						return false
					}
					w.Header().Set("WWW-Authenticate", `Basic realm="upstream"`)
					if w.WriteHeader(http.StatusUnauthorized); isRight {
						w.WriteHeader(status)
					}
					return true
				})
				b := newBed(t, up)
				b.allow(registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1"}, registryproxy.Image{Host: up.host, Repository: "team/closed", Tag: "v1"})
				b.get(t, "/v2/"+first+"/manifests/v1")
				b.advance(10 * time.Second)
				open := func() int { return b.get(t, blobPath(i.layerHash)).status }
				if first != repository && open() != http.StatusOK {
					b.advance(time.Minute) // not known to be good yet: it is tried again soon
				}
				for range 3 {
					if got := b.get(t, "/v2/team/closed/manifests/v1"); got.status != http.StatusBadGateway {
						t.Errorf("%s", got.all())
					}
					if got := open(); got != http.StatusOK {
						t.Errorf("first %s: the open repository: %d; %s", first, got, b.faults())
					}
				}
			}
		})
	}
}

// A password that was good and is revoked is found out once, not once for each repository.
func TestARevokedPasswordIsNotRepeated(t *testing.T) {
	up := newUpstream(t)
	names := []string{"team/app", "team/b", "team/c", "team/d", "team/e"}
	var images []registryproxy.Image
	for _, name := range names {
		up.push(t, name, "v1", name)
		images = append(images, registryproxy.Image{Host: up.host, Repository: name, Tag: "v1"})
	}
	basic(up)
	b := newBed(t, up)
	b.allow(images...)
	ask := func(want int) {
		t.Helper()
		for _, name := range names {
			if got := b.get(t, "/v2/"+name+"/manifests/v1"); got.status != want {
				t.Errorf("%s: %s, want %d", name, got.all(), want)
			}
		}
	}
	ask(http.StatusOK)
	up.set(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="upstream"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	b.advance(2 * time.Minute) // the tags are asked for again
	up.forget()
	for range 5 {
		ask(http.StatusBadGateway)
	}
	if n := withSecret(up); n > 2 {
		t.Errorf("the password was sent %d times, want once or twice", n)
	}
	basic(up)
	b.advance(20 * time.Minute)
	ask(http.StatusOK)
}

// A guest that leaves before the registry answers must not keep the refusal from
// being remembered: it could have the password repeated as often as it likes.
func TestAGuestThatLeavesDoesNotHideARefusal(t *testing.T) {
	for name, most := range map[string]int{"never good": 1, "good before": 6} { // 6: as many as a guest has at once
		wasGood := most > 1
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t)
			i := up.push(t, repository, "v1", "one")
			basic(up)
			b := newBed(t, up)
			if wasGood {
				if got := b.get(t, manifestPath("v1")); got.status != http.StatusOK {
					t.Fatalf("%s", got.all())
				}
			} else {
				b.allow(registryproxy.Image{Host: up.host, Repository: repository})
			}
			arrived, answer := make(chan struct{}, 1000), make(chan struct{})
			up.set(func(w http.ResponseWriter, r *http.Request) bool {
				if _, _, ok := r.BasicAuth(); ok {
					arrived <- struct{}{}
					<-answer
				}
				w.Header().Set("WWW-Authenticate", `Basic realm="upstream"`)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			})
			up.forget()
			for n := range 10 {
				ctx, leave := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.server.URL+blobPath(i.layerHash), http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				left := make(chan struct{})
				go func() {
					defer close(left)
					if resp, err := http.DefaultClient.Do(req); err == nil {
						_ = resp.Body.Close()
					}
				}()
				if n == 0 {
					<-arrived
				} else {
					select {
					case <-arrived:
					case <-time.After(20 * time.Millisecond): // as long as it takes to send a password
					}
				}
				leave()
				<-left
			}
			close(answer)
			waitFor(t, func() []error { b.get(t, blobPath(i.layerHash)); return b.failed() })
			if n := withSecret(up); n > most {
				t.Errorf("the password was sent %d times, want %d at most", n, most)
			}
		})
	}
}

// What needs no password is pulled without one, whatever the registry thinks of
// the one that the host has.
func TestAWrongPasswordDoesNotStopPublicImages(t *testing.T) {
	up := newUpstream(t)
	up.push(t, repository, "v1", "one")
	i := up.push(t, "team/public", "v1", "two")
	up.set(func(w http.ResponseWriter, r *http.Request) bool {
		_, _, withPassword := r.BasicAuth()
		if strings.Contains(r.URL.Path, "team/public") && !withPassword { // with a wrong one it refuses
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="upstream"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	b := newBed(t, up)
	private := []string{"team/app", "team/b", "team/c", "team/d"}
	images := []registryproxy.Image{{Host: up.host, Repository: "team/public", Tag: "v1"}}
	for _, name := range private {
		images = append(images, registryproxy.Image{Host: up.host, Repository: name, Tag: "v1"})
	}
	b.allow(images...)
	for range 5 {
		for _, name := range private {
			if got := b.get(t, "/v2/"+name+"/manifests/v1"); got.status != http.StatusBadGateway {
				t.Errorf("%s", got.all())
			}
		}
		for _, path := range []string{"manifests/v1", "blobs/" + i.layerHash.String()} {
			if got := b.get(t, "/v2/team/public/"+path); got.status != http.StatusOK {
				t.Errorf("%s: %s; %s", path, got.all(), b.faults())
			}
		}
		b.advance(20 * time.Second)
	}
	if n := withSecret(up); n > 4 {
		t.Errorf("the password was sent %d times in 100 seconds", n)
	}
}
