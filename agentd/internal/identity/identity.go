// Package identity keeps the host's two TLS keys, current and next, and their
// self-signed certificates. Call [Files.Load]; [Files.Switch] makes the next key the
// current one. A key is made once: guests pin it, so a damaged key file is an
// error and never replaced. A certificate is made again, from the same key, when
// the addresses that it must name change or its end is near.
package identity

import (
	"crypto/ecdsa"
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
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/regular"
)

// DNSName is the one name, beside the addresses, that each certificate has.
const DNSName = "felhom-agentd"

// lifetime is not a security control for a pinned key, but clients that verify
// as usual (dockerd with the certificate as its CA) check it.
const lifetime = 10 * 365 * 24 * time.Hour

// renewBefore is how long before its end a certificate is remade.
const renewBefore = 365 * 24 * time.Hour

// maxFileBytes bounds a key or certificate; those of this package have less than 1 KiB.
const maxFileBytes = 64 << 10

const (
	keyBlock         = "PRIVATE KEY"
	certificateBlock = "CERTIFICATE"

	currentSlot  = "current"
	nextSlot     = "next"
	previousSlot = "previous" // has a certificate alone
	upcomingSlot = "upcoming" // has a key alone, during a switch

	keySuffix         = ".key"
	certificateSuffix = ".crt"
)

// Identity is the host's pair of certificates with their keys.
type Identity struct {
	Current tls.Certificate // what the local API shows
	Next    tls.Certificate // already pinned by the guests, shown after a rotation
	// Previous is the certificate of the current key before its renewal, nil if
	// there is none that is still valid: what trusts exact certificates trusts it
	// until it has read the renewed one.
	Previous *x509.Certificate
	Made     []string // files that Load had to write, those of current first
}

// Files are where keys and certificates are. The keys may be on pmxcfs, shared
// by all nodes of a cluster; the certificates name one node's addresses.
type Files struct {
	Keys         *os.Root
	Certificates *os.Root
}

// Load reads both identities, making what is not there, and makes sure that each
// certificate names exactly addrs and [DNSName]. It finishes a [Files.Switch]
// that was interrupted. It is safe to repeat; two processes of one node must not
// run it at once.
func (f Files) Load(addrs []netip.Addr, now time.Time) (Identity, error) {
	var id Identity
	current, next, err := f.keys(&id.Made)
	if err != nil {
		return Identity{}, err
	}
	for _, slot := range []struct {
		name string
		key  *ecdsa.PrivateKey
		into *tls.Certificate
	}{{currentSlot, current, &id.Current}, {nextSlot, next, &id.Next}} {
		leaf, err := f.certificate(slot.name, slot.key, addrs, now, &id.Made)
		if err != nil {
			return Identity{}, fmt.Errorf("%s certificate: %w", slot.name, err)
		}
		*slot.into = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: slot.key, Leaf: leaf}
	}
	id.Previous, err = f.previous(current, addrs, now)
	slices.Sort(id.Made)
	for i, name := range id.Made { // the key of each slot before its certificate
		if i > 0 && strings.TrimSuffix(name, keySuffix)+certificateSuffix == id.Made[i-1] {
			id.Made[i-1], id.Made[i] = id.Made[i], id.Made[i-1]
		}
	}
	return id, err
}

// certificate returns the certificate of a slot. That of the current key may
// still be the next one's, after a switch: guests have exactly that one.
func (f Files) certificate(name string, key *ecdsa.PrivateKey, addrs []netip.Addr, now time.Time, made *[]string) (*x509.Certificate, error) {
	leaf, err := f.readCertificate(name)
	if err != nil {
		return nil, err
	}
	if leaf != nil && fits(leaf, key, addrs, now) {
		return leaf, nil
	}
	if name == currentSlot && (leaf == nil || !key.PublicKey.Equal(leaf.PublicKey)) {
		other, err := f.readCertificate(nextSlot)
		if err != nil {
			return nil, err
		}
		if other != nil && fits(other, key, addrs, now) {
			return other, f.writeCertificate(name, other, made)
		}
	}
	if name == currentSlot && leaf != nil && isUsable(leaf, key, addrs, now) {
		var kept []string // it is not news
		if err := f.writeCertificate(previousSlot, leaf, &kept); err != nil {
			return nil, err
		}
	}
	if leaf, err = makeCertificate(key, addrs, now); err != nil {
		return nil, err
	}
	return leaf, f.writeCertificate(name, leaf, made)
}

// previous returns the certificate before a renewal, nil if it is of no use.
func (f Files) previous(key *ecdsa.PrivateKey, addrs []netip.Addr, now time.Time) (*x509.Certificate, error) {
	leaf, err := f.readCertificate(previousSlot)
	if err != nil || leaf == nil || !isUsable(leaf, key, addrs, now) {
		return nil, err
	}
	return leaf, nil
}

// readCertificate returns nil if there is no certificate, or a damaged one.
func (f Files) readCertificate(name string) (*x509.Certificate, error) {
	text, err := regular.ReadIn(f.Certificates, name+certificateSuffix, maxFileBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseCertificate(text), nil
}

func (f Files) writeCertificate(name string, leaf *x509.Certificate, made *[]string) error {
	file := name + certificateSuffix
	text := pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: leaf.Raw})
	if err := atomicfile.Write(f.Certificates, file, text, atomicfile.Attr{Mode: 0o644}); err != nil {
		return err
	}
	*made = append(*made, file)
	return nil
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

// fits reports whether leaf need not be made again.
func fits(leaf *x509.Certificate, key *ecdsa.PrivateKey, addrs []netip.Addr, now time.Time) bool {
	return isUsable(leaf, key, addrs, now) && now.Before(leaf.NotAfter.Add(-renewBefore))
}

// isUsable reports whether leaf is of the key, names the addresses, and is valid
// now.
func isUsable(leaf *x509.Certificate, key *ecdsa.PrivateKey, addrs []netip.Addr, now time.Time) bool {
	return key.PublicKey.Equal(leaf.PublicKey) &&
		slices.Equal(leaf.DNSNames, []string{DNSName}) &&
		slices.EqualFunc(leaf.IPAddresses, sorted(addrs), func(ip net.IP, a netip.Addr) bool { return ip.Equal(a.AsSlice()) }) &&
		now.Before(leaf.NotAfter) && now.After(leaf.NotBefore)
}

// makeCertificate makes a leaf that is not an authority: used as its own root, it
// pins exactly this certificate in dockerd and in Go.
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

// sorted returns addrs sorted: a reordered list in the configuration must not
// lead to a new certificate.
func sorted(addrs []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, a.Unmap())
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
