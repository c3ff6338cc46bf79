//go:build integration

package registry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/crypto/bcrypt"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/freeport"
)

const (
	repository = "felhom/controller"
	puller     = "puller"
)

// upstream is a private registry of its own for one test.
type upstream struct {
	host       string // ADDRESS:PORT
	tokenHost  string // of the token server; "": it wants the password itself
	ca, secret string // files
	password   string
	key        *ecdsa.PrivateKey
	cert       *x509.Certificate
}

// startUpstream starts Debian's docker-registry with TLS, and with a password or
// with a token server, and copies the sample controller into it.
func startUpstream(t testing.TB, bed testbed.Bed, dir string, withTokens bool) *upstream {
	t.Helper()
	u := &upstream{host: freeport.Address(t, bed.Address), ca: filepath.Join(dir, "upstream.crt"), secret: filepath.Join(dir, "upstream.secret")}
	u.makeCertificate(t, net.ParseIP(bed.Address), filepath.Join(dir, "upstream.key"))
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	u.password = "upstream-" + hex.EncodeToString(random[:])
	write(t, u.secret, u.password+"\n")
	auth := ""
	if withTokens {
		u.tokenHost = u.serveTokens(t, bed.Address)
		auth = fmt.Sprintf("token: {realm: \"https://%s/token\", service: felhom test, issuer: felhom test, rootcertbundle: %q}", u.tokenHost, u.ca)
	} else {
		hash, err := bcrypt.GenerateFromPassword([]byte(u.password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "htpasswd"), fmt.Sprintf("%s:%s\n", puller, hash))
		auth = fmt.Sprintf("htpasswd: {realm: felhom test, path: %q}", filepath.Join(dir, "htpasswd"))
	}
	config := filepath.Join(dir, "upstream.yml")
	write(t, config, fmt.Sprintf("version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\nauth: {%s}\nhttp: {addr: %q, tls: {certificate: %q, key: %q}}\n",
		filepath.Join(dir, "upstream"), auth, u.host, u.ca, filepath.Join(dir, "upstream.key")))
	daemon, err := testbed.StartDaemon("docker-registry", exec.Command("docker-registry", "serve", config), filepath.Join(dir, "upstream.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := daemon.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	u.copyImage(t, bed)
	return u
}

func (u *upstream) makeCertificate(t testing.TB, ip net.IP, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "felhom test upstream"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{ip},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if u.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	u.key = key
	write(t, u.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// serveTokens is a token server: for the password it signs what is asked for.
func (u *upstream) serveTokens(t testing.TB, address string) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != puller || password != u.password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		access := []map[string]any{}
		for _, scope := range r.URL.Query()["scope"] {
			parts := strings.Split(scope, ":")
			if len(parts) == 3 {
				access = append(access, map[string]any{"type": parts[0], "name": parts[1], "actions": strings.Split(parts[2], ",")})
			}
		}
		signed, err := u.sign(access)
		if err != nil {
			t.Error(err)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"token": signed, "expires_in": 300})
	}))
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Listener.Close()
	server.Listener = l
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{u.cert.Raw}, PrivateKey: u.key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return l.Addr().String()
}

// sign returns a token of the registry's token specification (ES256).
func (u *upstream) sign(access []map[string]any) (string, error) {
	now := time.Now()
	header, err := json.Marshal(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(u.cert.Raw)}})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": "felhom test", "sub": puller, "aud": "felhom test", "exp": now.Add(5 * time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(),
		"jti": hex.EncodeToString(big.NewInt(now.UnixNano()).Bytes()), "access": access,
	})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, u.key, sum[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + encode(signature), nil
}

// copyImage copies the bed's sample controller into the registry.
func (u *upstream) copyImage(t testing.TB, bed testbed.Bed) {
	t.Helper()
	sample, err := bed.Image("v1")
	if err != nil {
		t.Fatal(err)
	}
	token, err := bed.Token()
	if err != nil {
		t.Fatal(err)
	}
	source, err := name.ParseReference(sample.Reference)
	if err != nil {
		t.Fatal(err)
	}
	from, err := remote.Image(source, remote.WithAuth(&authn.Basic{Username: bed.Username, Password: token}), remote.WithTransport(trusting(t, bed.CAFile)))
	if err != nil {
		t.Fatal(err)
	}
	// Another image than those of other tests: an engine has their blobs.
	settings, err := from.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	settings = settings.DeepCopy()
	settings.Config.Labels = map[string]string{"org.felhom.test.registry": u.host + u.password[:len("upstream-")+8]}
	if from, err = mutate.ConfigFile(from, settings); err != nil {
		t.Fatal(err)
	}
	target, err := name.ParseReference(u.host + "/" + repository + ":v1")
	if err != nil {
		t.Fatal(err)
	}
	// The registry has just been started: its first answers may be refusals to connect.
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err = remote.Write(target, from, remote.WithTransport(&authorized{trusting(t, u.ca), u}))
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-tick.C
	}
}

// authorized adds what the registry wants of who may push: the client library
// asks no token server at an address that is not public.
type authorized struct {
	http.RoundTripper
	upstream *upstream
}

// RoundTrip implements [http.RoundTripper].
func (a *authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if a.upstream.tokenHost == "" {
		r.SetBasicAuth(puller, a.upstream.password)
		return a.RoundTripper.RoundTrip(r)
	}
	signed, err := a.upstream.sign([]map[string]any{{"type": "repository", "name": repository, "actions": []string{"pull", "push"}}})
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+signed)
	return a.RoundTripper.RoundTrip(r)
}

func trusting(t testing.TB, file string) *http.Transport {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		t.Fatalf("no certificate in %s", file)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
