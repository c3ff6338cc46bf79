// Package identity keeps the host's two TLS keys, current and next, and their
// self-signed certificates. Call [Load]. A key is made once: guests pin it, so a
// damaged key file is an error and never replaced. A certificate is made again,
// from the same key, when the addresses that it must name change or its end is
// near.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/regular"
)

// DNSName is the one name, beside the addresses, that each certificate has.
const DNSName = "felhom-agentd"

// lifetime is not a security control for a pinned key, but clients that verify
// as usual (dockerd with the certificate as its CA) do look at it.
const lifetime = 10 * 365 * 24 * time.Hour

// renewBefore is how long before its end a certificate is remade.
const renewBefore = 365 * 24 * time.Hour

// maxFileBytes bounds a key or certificate; those of this package have less than 1 KiB.
const maxFileBytes = 64 << 10

const (
	keyBlock         = "PRIVATE KEY"
	certificateBlock = "CERTIFICATE"
)

// Identity is the host's pair of certificates with their keys.
type Identity struct {
	Current tls.Certificate // what the local API shows
	Next    tls.Certificate // already pinned by the guests, shown after a rotation
	Made    []string        // files that Load had to write, in that order
}

// Load reads both identities below root, making what is not there, and makes
// sure that each certificate names exactly addrs and [DNSName]. It is safe to
// repeat; two processes must not run it at once on an empty root.
func Load(root *os.Root, addrs []netip.Addr, now time.Time) (Identity, error) {
	var id Identity
	for _, slot := range []struct {
		name string
		into *tls.Certificate
	}{{"current", &id.Current}, {"next", &id.Next}} {
		key, err := loadKey(root, slot.name, &id.Made)
		if err != nil {
			return Identity{}, fmt.Errorf("%s key: %w", slot.name, err)
		}
		leaf, err := loadCertificate(root, slot.name, key, addrs, now, &id.Made)
		if err != nil {
			return Identity{}, fmt.Errorf("%s certificate: %w", slot.name, err)
		}
		*slot.into = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	}
	return id, nil
}

func loadKey(root *os.Root, name string, made *[]string) (*ecdsa.PrivateKey, error) {
	file := name + ".key"
	text, err := regular.ReadIn(root, file, maxFileBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(root, file, made)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, fmt.Errorf("%s holds no PEM block %q", file, keyBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		// The cause is not wrapped: an ASN.1 error may quote bytes of the key.
		return nil, fmt.Errorf("%s is not a PKCS #8 private key", file)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s holds another kind of key, want ECDSA P-256", file)
	}
	return key, nil
}

func makeKey(root *os.Root, file string, made *[]string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})
	if err := atomicfile.Write(root, file, text, atomicfile.Attr{Mode: 0o600}); err != nil {
		return nil, err
	}
	*made = append(*made, file)
	return key, nil
}

func loadCertificate(root *os.Root, name string, key *ecdsa.PrivateKey, addrs []netip.Addr, now time.Time, made *[]string) (*x509.Certificate, error) {
	file := name + ".crt"
	text, err := regular.ReadIn(root, file, maxFileBytes)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if leaf := parseCertificate(text); leaf != nil && fits(leaf, key, addrs, now) {
		return leaf, nil
	}
	leaf, err := makeCertificate(key, addrs, now)
	if err != nil {
		return nil, err
	}
	text = pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: leaf.Raw})
	if err := atomicfile.Write(root, file, text, atomicfile.Attr{Mode: 0o644}); err != nil {
		return nil, err
	}
	*made = append(*made, file)
	return leaf, nil
}

// parseCertificate returns nil for anything that is not one certificate: it is
// derived from the key, so a damaged one is simply made again.
func parseCertificate(text []byte) *x509.Certificate {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != certificateBlock {
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return leaf
}

func fits(leaf *x509.Certificate, key *ecdsa.PrivateKey, addrs []netip.Addr, now time.Time) bool {
	return key.PublicKey.Equal(leaf.PublicKey) &&
		slices.Equal(leaf.DNSNames, []string{DNSName}) &&
		slices.EqualFunc(leaf.IPAddresses, sorted(addrs), func(ip net.IP, a netip.Addr) bool { return ip.Equal(a.AsSlice()) }) &&
		now.Before(leaf.NotAfter.Add(-renewBefore)) && now.After(leaf.NotBefore)
}

// makeCertificate makes a leaf that is not an authority: as its own root it is then
// an exact-certificate pin for dockerd and for Go.
func makeCertificate(key *ecdsa.PrivateKey, addrs []netip.Addr, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{CommonName: DNSName},
		NotBefore:             now.Add(-time.Hour), // a guest's clock may be behind
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{DNSName},
	}
	for _, a := range sorted(addrs) {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// sorted makes the order of the configuration irrelevant: a reordered list must
// not remake a certificate.
func sorted(addrs []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, a.Unmap())
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
