//go:build packages

package packages_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// hubNames are the names of the registry that an image without one comes from.
var hubNames = []string{"index.docker.io", "registry-1.docker.io"}

// outside is all that a machine reaches of the Internet, as a proxy: Debian's archive, which is the one of this machine's own apt; a
// registry of this test under Docker Hub's names; and a directory under the name of Docker's package archive.
type outside struct {
	url    string // of the proxy
	ca     []byte // PEM, of the registry
	mirror string // host of Debian's archive
	hub    chan net.Conn
	done   chan struct{} // closed at the end of the test
	web    *httputil.ReverseProxy
	addr   net.Addr
}

func newOutside(t *testing.T, bed testbed.Bed, mirror, packages string, images ...string) *outside {
	t.Helper()
	archive, err := url.Parse(mirror)
	if err != nil || archive.Scheme != "http" {
		t.Fatalf("archive of this machine's apt: want http, got %q, %v", mirror, err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(bed.Address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	o := &outside{url: "http://" + l.Addr().String(), mirror: archive.Host, hub: make(chan net.Conn), done: make(chan struct{}), addr: l.Addr()}
	o.web = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL, r.Out.Host = r.In.URL, r.In.URL.Host }}
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	for _, image := range images {
		pushTo(t, store, image)
	}
	files := http.FileServer(http.Dir(packages))
	certificate, ca := hubCertificate(t)
	o.ca = ca
	proxy := &http.Server{Handler: o, ReadHeaderTimeout: time.Minute}
	hub := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == dockerName {
			files.ServeHTTP(w, r)
			return
		}
		store.ServeHTTP(w, r)
	})}
	ended := make(chan error, 2)
	go func() { ended <- proxy.Serve(l) }()
	go func() {
		ended <- hub.Serve(tls.NewListener(&tunnels{o}, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}))
	}()
	t.Cleanup(func() {
		err := proxy.Close()
		close(o.done)
		err = errors.Join(err, hub.Close())
		for range 2 {
			if end := <-ended; !errors.Is(end, http.ErrServerClosed) && !errors.Is(end, net.ErrClosed) {
				err = errors.Join(err, end)
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
	return o
}

// ServeHTTP lets through what the machine may reach.
func (o *outside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, port, _ := net.SplitHostPort(r.Host)
	switch {
	case r.Method == http.MethodConnect && port == "443" && (host == dockerName || slices.Contains(hubNames, host)):
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
			_ = conn.Close()
			return
		}
		select {
		case o.hub <- conn:
		case <-o.done:
			_ = conn.Close()
		}
	case r.Method != http.MethodConnect && r.URL.Host == o.mirror:
		o.web.ServeHTTP(w, r)
	default:
		http.Error(w, "outside of the test: "+r.Host, http.StatusForbidden)
	}
}

// tunnels is a listener whose connections come through the proxy.
type tunnels struct{ *outside }

func (l *tunnels) Accept() (net.Conn, error) {
	select {
	case conn := <-l.hub:
		return conn, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *tunnels) Close() error   { return nil }
func (l *tunnels) Addr() net.Addr { return l.addr }

// pushTo puts an image of that name into a registry: a web server.
func pushTo(t *testing.T, store http.Handler, reference string) {
	t.Helper()
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	image, err := testbed.ProgramImage(t.Context(), t.TempDir(), "./testdata/web", v1.Config{ExposedPorts: map[string]struct{}{"80/tcp": {}}})
	if err != nil {
		t.Fatal(err)
	}
	direct := roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		if r.Body == nil {
			r.Body = http.NoBody // as in a server
		}
		w := httptest.NewRecorder()
		store.ServeHTTP(w, r)
		resp := w.Result()
		resp.Request = r
		return resp, nil
	})
	if err := remote.Write(tag, image, remote.WithTransport(direct), remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// hubCertificate returns a certificate for all names of Docker that only the machine of this test trusts.
func hubCertificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "registry of the test"}, DNSNames: append([]string{dockerName}, hubNames...),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
