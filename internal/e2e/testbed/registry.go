package testbed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const registryUser = "guest"

const certsRoot = "/etc/docker/certs.d"

// startRegistry starts Debian's docker-registry on b.Registry, with TLS and a
// password, and puts its certificate where the engine looks for it. All its
// files are in b.Dir.
func startRegistry(ctx context.Context, b Bed) (*Daemon, error) {
	if err := writeRegistryFiles(b); err != nil {
		return nil, fmt.Errorf("prepare registry: %w", err)
	}
	cmd := exec.Command("docker-registry", "serve", filepath.Join(b.Dir, "registry.yml"))
	d, err := StartDaemon("docker-registry", cmd, filepath.Join(b.Dir, "registry.log"))
	if err != nil {
		return nil, err
	}
	client, err := b.registryClient()
	if err != nil {
		return nil, errors.Join(err, d.Stop(time.Second))
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err = d.Wait(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.Registry+"/v2/", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			return fmt.Errorf("GET /v2/ without a password gives %d, want 401", resp.StatusCode)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, d.StopAnyway())
	}
	return d, nil
}

// registryClient trusts the registry's certificate and nothing else.
func (b Bed) registryClient() (*http.Client, error) {
	pemData, err := os.ReadFile(b.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pemData) {
		return nil, fmt.Errorf("no certificate in %s", b.CAFile)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}, nil
}

func writeRegistryFiles(b Bed) error {
	certPEM, keyPEM, err := selfSigned(net.ParseIP(b.Address))
	if err != nil {
		return err
	}
	token, err := b.Token()
	if err != nil {
		return err
	}
	// The lowest cost: the registry hashes on every request.
	hash, err := bcrypt.GenerateFromPassword([]byte(token), bcrypt.MinCost)
	if err != nil {
		return err
	}
	file := func(name string) string { return filepath.Join(b.Dir, name) }
	config := fmt.Sprintf(`version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}
auth: {htpasswd: {realm: felhom test bed, path: %q}}
http: {addr: %q, tls: {certificate: %q, key: %q}}
`, file("registry"), file("htpasswd"), b.Registry, b.CAFile, file("registry.key"))
	certDir := filepath.Join(certsRoot, b.Registry)
	if err := os.MkdirAll(certDir, 0o755); err != nil {
		return err
	}
	for _, f := range []struct {
		path string
		data []byte
	}{
		{b.CAFile, certPEM},
		{file("registry.key"), keyPEM},
		{file("htpasswd"), fmt.Appendf(nil, "%s:%s\n", b.Username, hash)},
		{file("registry.yml"), []byte(config)},
		{filepath.Join(certDir, "ca.crt"), certPEM},
	} {
		if err := os.WriteFile(f.path, f.data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// removeCertDir copes with a directory that is not there. It removes certs.d
// itself when nothing else is left in it; /etc/docker stays.
func removeCertDir(dir string) error {
	if dir == "" {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	_ = os.Remove(certsRoot) // fails if it has certificates of another program
	return nil
}

// selfSigned makes a certificate that is its own root, for one address.
func selfSigned(ip net.IP) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "felhom test bed registry"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(7 * 24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{ip},
		// Needed by readers that expect it; it is not an authority.
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
