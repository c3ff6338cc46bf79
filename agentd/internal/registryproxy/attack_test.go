package registryproxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// A request that announces a body and does not send it must not hold a slot: the
// server would wait for the body, without a limit, before it answers.
func TestABodyThatDoesNotCome(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	for name, header := range map[string]string{"length": "Content-Length: 5", "chunked": "Transfer-Encoding: chunked"} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, up, withLimits(registryproxy.Limits{PerGuest: 1, Wait: time.Second}))
			b.get(t, manifestPath("v1"))
			conn, err := net.Dial("tcp", b.server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: agent\r\n%s\r\n\r\n", blobPath(i.layerHash), header); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			defer func() { _ = resp.Body.Close() }()
			if resp.StatusCode != http.StatusBadRequest || !resp.Close {
				t.Errorf("%s, close %v; want a refusal and the end of the connection", resp.Status, resp.Close)
			}
			if got := b.get(t, blobPath(i.layerHash)); got.status != http.StatusOK || !bytes.Equal(got.body, i.layer) {
				t.Errorf("the guest's only slot is held: %.200s", got.all())
			}
		})
	}
}

// A manifest of many small entries must not take many times its size in memory.
func TestAManifestOfManyEntries(t *testing.T) {
	up := newUpstream(t)
	entries := strings.Repeat("{},", (4<<20-200)/3)
	for name, c := range map[string]struct{ kind, body string }{
		"layers":    {imageType, `{"schemaVersion":2,"config":{},"layers":[` + entries + `{}]}`},
		"manifests": {indexType, `{"schemaVersion":2,"manifests":[` + entries + `{}]}`},
		"twice":     {indexType, `{"schemaVersion":2,"manifests":[` + entries + `{}],"manifests":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			up.put(repository+"/manifests/v1", c.kind, []byte(c.body))
			b := newBed(t, up)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := b.get(t, manifestPath("v1"))
			runtime.ReadMemStats(&after)
			if got.status != http.StatusBadGateway || !strings.Contains(b.faults(), "more than 1000 entries") {
				t.Errorf("%.200s; %.500s", got.all(), b.faults())
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
				t.Errorf("%d MiB were allocated for a manifest of 4 MiB", grown>>20)
			}
		})
	}
}

// A guest that asks for what it may not have must not make the host ask the
// registry again and again for platforms that are not there.
func TestMissingPlatformsAreRemembered(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	children := []any{descriptor(imageType, i.manifest)}
	for n := range 30 {
		children = append(children, descriptor(imageType, fmt.Appendf(nil, "missing %d", n)))
	}
	up.put(repository+"/manifests/v1", indexType, encode(t, map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": children}))
	b := newBed(t, up)
	denied := blobPath(digestOf([]byte("a blob of another image")))
	if got := b.get(t, denied); got.status != http.StatusForbidden {
		t.Fatalf("%.200s", got.all())
	}
	up.forget()
	for range 3 {
		if got := b.get(t, denied); got.status != http.StatusForbidden {
			t.Errorf("%.200s", got.all())
		}
	}
	if n := len(up.seen()); n > 0 {
		t.Errorf("the registry was asked %d times again", n)
	}
	b.advance(10 * time.Minute) // a platform can be pushed later
	b.get(t, denied)
	if n := len(up.seen()); n < 30 {
		t.Errorf("after ten minutes the registry was asked %d times", n)
	}
}

// A token server may be at any address since the operator named it, for tokens
// and not for blobs: its other paths are not the guests' to read.
func TestARedirectToATokenServer(t *testing.T) {
	up, inside := newUpstream(t), newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	up.roots.AddCert(inside.Certificate())
	inside.put("secret", "text/plain", i.layer)
	up.set(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		http.Redirect(w, r, inside.URL+"/v2/secret", http.StatusTemporaryRedirect)
		return true
	})
	b := newBed(t, up, withRegistry(func(r *registryproxy.Registry) { r.TokenHosts = []string{inside.host} }))
	if got := b.get(t, blobPath(i.layerHash)); got.status != http.StatusBadGateway || len(inside.seen()) > 0 {
		t.Errorf("%.200s; %d requests to the token server", got.all(), len(inside.seen()))
	}
}

// The limit on blobs without a manifest holds for a part of one too.
func TestAPartOfABlobThatIsTooLarge(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	b := newBed(t, up, withLimits(registryproxy.Limits{MaxBlob: int64(len(i.layer)) - 1}))
	b.allow(registryproxy.Image{Host: up.host, Repository: repository})
	for _, part := range []string{"bytes=0-", "bytes=0-9", ""} {
		if got := b.get(t, blobPath(i.layerHash), "Range", part); got.status != http.StatusBadGateway {
			t.Errorf("range %q: %d", part, got.status)
		}
	}
}

// What a registry writes into a status line is short and clean in the log.
func TestStatusLinesAreClean(t *testing.T) {
	up := newUpstream(t)
	up.push(t, repository, "v1", "one")
	for name, challenge := range map[string]string{"no challenge": "", "basic": `Basic realm="x"`} {
		up.set(func(w http.ResponseWriter, _ *http.Request) bool {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return true
			}
			header := ""
			if challenge != "" {
				header = "WWW-Authenticate: " + challenge + "\r\n"
			}
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 401 \x1b[31m\u202e%s\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n", strings.Repeat("a", 5000), header)
			_ = conn.Close()
			return true
		})
		b := newBed(t, up)
		b.get(t, manifestPath("v1"))
		if text := b.faults(); text == "" || len(text) > 1000 || strings.ContainsAny(text, "\x1b\u202e") {
			t.Errorf("%s: %d bytes: %.300q", name, len(text), text)
		}
	}
}

// A guest that asks without end must not fill the host's log: a pull is a line.
func TestRequestsAreLimited(t *testing.T) {
	up := newUpstream(t)
	up.push(t, repository, "v1", "one")
	b := newBed(t, up, withLimits(registryproxy.Limits{Burst: 20, PerSecond: 0.001}))
	limited := 0
	for range 30 {
		if got := b.get(t, manifestPath("v1")); got.status == http.StatusTooManyRequests && got.header.Get("Retry-After") != "" {
			limited++
		}
	}
	if n := len(b.waitLines(t, 20)); limited != 10 || n != 20 {
		t.Errorf("%d requests were refused and %d made a line, want 10 and 20", limited, n)
	}
}

// The limit on a blob holds for what a manifest says, too.
func TestAManifestWithALayerThatIsTooLarge(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	huge := descriptor("application/vnd.oci.image.layer.v1.tar", []byte("huge"))
	huge["size"] = int64(1) << 62
	body := encode(t, map[string]any{"schemaVersion": 2, "config": descriptor("application/vnd.oci.image.config.v1+json", i.config), "layers": []any{huge}})
	up.put(repository+"/manifests/v1", imageType, body)
	onBlobs(up, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(int64(1)<<62))
		_, _ = w.Write(make([]byte, 1<<20))
	})
	b := newBed(t, up)
	digest := digestOf([]byte("huge"))
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if got := b.ask(t, method, blobPath(digest)); got.status != http.StatusBadGateway {
			t.Errorf("%s: %d, %d bytes", method, got.status, len(got.body))
		}
	}
	if !strings.Contains(b.faults(), "exceeds the limit") {
		t.Errorf("the log says %s", b.faults())
	}
}

// A guest that asks for thousands of tags of its repository must not make the
// proxy forget what the tags of others meant while they pull.
func TestManyTagsOfOneRepository(t *testing.T) {
	for name, isThere := range map[string]bool{"missing": false, "there": true} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t)
			old := up.push(t, repository, "v1", "one")
			b := newBed(t, up, withLimits(registryproxy.Limits{Burst: 100_000}))
			b.allow(registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1"}, registryproxy.Image{Host: up.host, Repository: "team/big"})
			b.get(t, manifestPath("v1"))
			up.push(t, repository, "v1", "two") // the tag is moved while the guest pulls
			b.advance(2 * time.Minute)
			b.get(t, manifestPath("v1"))
			if got := b.get(t, blobPath(old.layerHash)); got.status != http.StatusOK {
				t.Fatalf("%.200s", got.all())
			}
			want := http.StatusNotFound
			if isThere {
				want = http.StatusOK
				up.set(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.Contains(r.URL.Path, "team/big") {
						return false
					}
					w.Header().Set("Content-Type", imageType)
					_, _ = w.Write(old.manifest)
					return true
				})
			}
			for n := range 4100 {
				if got := b.get(t, fmt.Sprintf("/v2/team/big/manifests/t%d", n)); got.status != want {
					t.Fatalf("%.200s", got.all())
				}
			}
			if got := b.get(t, blobPath(old.layerHash)); got.status != http.StatusOK {
				t.Errorf("the pull cannot end: %.200s", got.all())
			}
		})
	}
}
