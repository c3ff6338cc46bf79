package registryproxy_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/blobcache"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/internal/contract"
)

const (
	repository = "team/app"
	user       = "puller"
	password   = "upstream-secret-8f1c"
	guestToken = "fgt_8200_the-guests-own-token"
	indexType  = "application/vnd.oci.image.index.v1+json"
	imageType  = "application/vnd.oci.image.manifest.v1+json"
)

// upstream is a registry that keeps to the rules unless a test changes handle.
type upstream struct {
	*httptest.Server
	host  string
	roots *x509.CertPool

	mu       sync.Mutex
	content  map[string][]byte // by path below /v2/
	types    map[string]string
	requests []*http.Request
	handle   func(w http.ResponseWriter, r *http.Request) (done bool)

	connections atomic.Int32
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{content: map[string][]byte{}, types: map[string]string{}}
	u.Server = httptest.NewUnstartedServer(u)
	u.Config.ErrorLog = log.New(io.Discard, "", 0)
	u.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			u.connections.Add(1)
		}
	}
	u.StartTLS()
	t.Cleanup(func() { u.CloseClientConnections(); u.Close() })
	u.host = strings.TrimPrefix(u.URL, "https://")
	u.roots = x509.NewCertPool()
	u.roots.AddCert(u.Certificate())
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.requests = append(u.requests, r.Clone(r.Context()))
	handle := u.handle
	body, ok := u.content[r.URL.EscapedPath()]
	kind := u.types[r.URL.EscapedPath()]
	u.mu.Unlock()
	if handle != nil && handle(w, r) {
		return
	}
	if !ok {
		http.Error(w, "upstream's own words", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Set-Cookie", "session=of-the-registry")
	w.Header().Set("X-Registry", "internal-name")
	if strings.Contains(r.URL.Path, "/manifests/") {
		w.Header().Set("Docker-Content-Digest", digestOf(body).String())
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func (u *upstream) put(path, kind string, body []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.content["/v2/"+path], u.types["/v2/"+path] = body, kind
}

func (u *upstream) set(handle func(w http.ResponseWriter, r *http.Request) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handle = handle
}

func (u *upstream) seen() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*http.Request(nil), u.requests...)
}

func (u *upstream) forget() { u.mu.Lock(); defer u.mu.Unlock(); u.requests = nil }

func digestOf(data []byte) contract.Digest {
	sum := sha256.Sum256(data)
	d, err := contract.ParseDigest("sha256:" + hex.EncodeToString(sum[:]))
	if err != nil {
		panic(err)
	}
	return d
}

// image is what was put into a registry: an index with one image.
type image struct {
	index, manifest         []byte
	config, layer           []byte
	indexDigest, digest     contract.Digest
	configDigest, layerHash contract.Digest
}

func descriptor(kind string, data []byte) map[string]any {
	return map[string]any{"mediaType": kind, "digest": digestOf(data).String(), "size": len(data)}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// push puts an image under a tag; seed makes it another one than the others.
func (u *upstream) push(t *testing.T, repository, tag, seed string) image {
	t.Helper()
	i := image{config: encode(t, map[string]string{"os": "linux", "seed": seed}), layer: bytes.Repeat([]byte(seed+"-layer "), 20000)}
	i.manifest = encode(t, map[string]any{
		"schemaVersion": 2, "mediaType": imageType,
		"config": descriptor("application/vnd.oci.image.config.v1+json", i.config),
		"layers": []any{descriptor("application/vnd.oci.image.layer.v1.tar", i.layer)},
	})
	i.index = encode(t, map[string]any{"schemaVersion": 2, "mediaType": indexType, "manifests": []any{descriptor(imageType, i.manifest)}})
	i.indexDigest, i.digest, i.configDigest, i.layerHash = digestOf(i.index), digestOf(i.manifest), digestOf(i.config), digestOf(i.layer)
	u.put(repository+"/manifests/"+tag, indexType, i.index)
	u.put(repository+"/manifests/"+i.indexDigest.String(), indexType, i.index)
	u.put(repository+"/manifests/"+i.digest.String(), imageType, i.manifest)
	u.put(repository+"/blobs/"+i.configDigest.String(), "text/html", i.config)
	u.put(repository+"/blobs/"+i.layerHash.String(), "text/html", i.layer)
	return i
}

// bed is a proxy before an upstream, behind a server as the daemon has one.
type bed struct {
	*registryproxy.Proxy
	up     *upstream
	server *httptest.Server

	mu       sync.Mutex
	images   []registryproxy.Image
	pulls    []registryproxy.Pull
	failures []error
	revoked  bool
	now      time.Time
	user     string
	password string
	credErr  error
}

type option func(*registryproxy.Options)

func withCache(c *blobcache.Cache) option { return func(o *registryproxy.Options) { o.Cache = c } }

func withLimits(l registryproxy.Limits) option {
	return func(o *registryproxy.Options) { o.Limits = l }
}

func withRegistry(change func(r *registryproxy.Registry)) option {
	return func(o *registryproxy.Options) { change(&o.Registries[0]) }
}

// newBed lets guests pull REPOSITORY:v1.
func newBed(t *testing.T, up *upstream, options ...option) *bed {
	t.Helper()
	b := &bed{up: up, now: time.Now(), user: user, password: password}
	b.allow(registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1"})
	o := registryproxy.Options{
		Registries: []registryproxy.Registry{{Host: up.host, Roots: up.roots, Credential: b.credential}},
		Images: func(_ context.Context, vmid int) ([]registryproxy.Image, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if vmid != 8200 {
				return nil, fmt.Errorf("guest %d is not known", vmid)
			}
			return b.images, nil
		},
		Pulled: func(p registryproxy.Pull) { b.mu.Lock(); defer b.mu.Unlock(); b.pulls = append(b.pulls, p) },
		Failed: func(_ int, err error) { b.mu.Lock(); defer b.mu.Unlock(); b.failures = append(b.failures, err) },
		Now:    func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now },
	}
	for _, change := range options {
		change(&o)
	}
	b.Proxy = registryproxy.New(o)
	t.Cleanup(b.Close)
	b.start(t, httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.Serve(w, r, registryproxy.Guest{VMID: 8200, IsValid: func() bool { b.mu.Lock(); defer b.mu.Unlock(); return !b.revoked }})
	})))
	return b
}

// start has s serve the bed until the test ends.
func (b *bed) start(t *testing.T, s *httptest.Server) {
	t.Helper()
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	b.server = s
}

func (b *bed) credential() (string, contract.Secret, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.credErr != nil {
		return "", contract.Secret{}, b.credErr
	}
	secret, err := contract.ParseSecret(b.password)
	return b.user, secret, err
}

func (b *bed) allow(images ...registryproxy.Image) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.images = images
}

func (b *bed) advance(d time.Duration) { b.mu.Lock(); defer b.mu.Unlock(); b.now = b.now.Add(d) }

// failed returns the failures so far. The proxy reports one beside its answer,
// in another goroutine than the test's.
func (b *bed) failed() []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.failures)
}

// setPassword is another password of the host for the upstream.
func (b *bed) setPassword(password string) { b.mu.Lock(); defer b.mu.Unlock(); b.password = password }

func (b *bed) faults() string {
	var lines []string
	for _, err := range b.failed() {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

func (b *bed) lines() []registryproxy.Pull {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]registryproxy.Pull(nil), b.pulls...)
}

type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // of reading the body
}

func (a answer) all() string { return fmt.Sprintf("%d %v %s", a.status, a.header, a.body) }

// ask sends one request as an engine does; pairs are header names and values.
func (b *bed) ask(t *testing.T, method, path string, pairs ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.server.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+guestToken)
	req.Header.Set("Cookie", "guest=cookie")
	req.Header.Set("X-Guest", "guest-header")
	for i := 0; i+1 < len(pairs); i += 2 {
		req.Header.Set(pairs[i], pairs[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode, header: resp.Header}
	a.body, a.err = io.ReadAll(resp.Body)
	return a
}

func (b *bed) get(t *testing.T, path string, pairs ...string) answer {
	t.Helper()
	return b.ask(t, http.MethodGet, path, pairs...)
}

func manifestPath(reference string) string { return "/v2/" + repository + "/manifests/" + reference }

func blobPath(d contract.Digest) string { return "/v2/" + repository + "/blobs/" + d.String() }
