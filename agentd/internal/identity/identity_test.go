package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/identity"
)

var (
	day0   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	first  = netip.MustParseAddr("192.0.2.7")
	second = netip.MustParseAddr("2001:db8::7")
)

func openRoot(t *testing.T) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root, dir
}

func load(t *testing.T, root *os.Root, now time.Time, addrs ...netip.Addr) identity.Identity {
	t.Helper()
	id, err := identity.Files{Keys: root, Certificates: root}.Load(addrs, now)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func isSameKey(a, b tls.Certificate) bool {
	return a.Leaf.PublicKey.(*ecdsa.PublicKey).Equal(b.Leaf.PublicKey)
}

func TestFirstLoadMakesTwoDifferentIdentities(t *testing.T) {
	root, dir := openRoot(t)
	id := load(t, root, day0, second, first)
	if want := []string{"current.key", "current.crt", "next.key", "next.crt"}; !slices.Equal(id.Made, want) {
		t.Errorf("made %v, want %v", id.Made, want)
	}
	if isSameKey(id.Current, id.Next) {
		t.Error("current and next share one key")
	}
	for _, c := range []tls.Certificate{id.Current, id.Next} {
		leaf := c.Leaf
		if key := leaf.PublicKey.(*ecdsa.PublicKey); key.Curve != elliptic.P256() {
			t.Errorf("curve %v, want P-256", key.Curve.Params().Name)
		}
		if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
			t.Errorf("CA %v, usage %v %v: want a plain server leaf", leaf.IsCA, leaf.KeyUsage, leaf.ExtKeyUsage)
		}
		pool := x509.NewCertPool()
		pool.AddCert(leaf)
		for _, name := range []string{"192.0.2.7", "2001:db8::7", identity.DNSName} {
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool, CurrentTime: day0.AddDate(9, 0, 0)}); err != nil {
				t.Errorf("as its own root, for %s, in nine years: %v", name, err)
			}
		}
	}
	for _, file := range []string{"current.key", "next.key"} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", file, info.Mode(), err)
		}
	}
}

func TestLoadAgain(t *testing.T) {
	cases := []struct {
		name     string
		before   func(dir string) error
		now      time.Time
		addrs    []netip.Addr
		wantMade []string
	}{
		{name: "nothing changed", now: day0, addrs: []netip.Addr{first}},
		{name: "same address, mapped form, twice", now: day0, addrs: []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.7"), first}},
		{name: "another address", now: day0, addrs: []netip.Addr{second}, wantMade: []string{"current.crt", "next.crt"}},
		{name: "one address more", now: day0, addrs: []netip.Addr{first, second}, wantMade: []string{"current.crt", "next.crt"}},
		{name: "nine years and a day later", now: day0.AddDate(9, 0, 1), addrs: []netip.Addr{first}, wantMade: []string{"current.crt", "next.crt"}},
		{
			name: "certificate damaged", now: day0, addrs: []netip.Addr{first}, wantMade: []string{"current.crt"},
			before: func(dir string) error { return os.Truncate(filepath.Join(dir, "current.crt"), 40) },
		},
		{
			name: "certificate of the other key", now: day0, addrs: []netip.Addr{first}, wantMade: []string{"next.crt"},
			before: func(dir string) error {
				text, err := os.ReadFile(filepath.Join(dir, "current.crt"))
				if err != nil {
					return err
				}
				return os.WriteFile(filepath.Join(dir, "next.crt"), text, 0o644)
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root, dir := openRoot(t)
			old := load(t, root, day0, first)
			if c.before != nil {
				if err := c.before(dir); err != nil {
					t.Fatal(err)
				}
			}
			id := load(t, root, c.now, c.addrs...)
			if !slices.Equal(id.Made, c.wantMade) {
				t.Errorf("made %v, want %v", id.Made, c.wantMade)
			}
			if !isSameKey(old.Current, id.Current) || !isSameKey(old.Next, id.Next) {
				t.Error("a key changed: every guest's pin would break")
			}
		})
	}
}

func TestDamagedKeyIsNeverReplaced(t *testing.T) {
	for _, content := range []string{"", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "junk"} {
		root, dir := openRoot(t)
		load(t, root, day0, first)
		file := filepath.Join(dir, "next.key")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := (identity.Files{Keys: root, Certificates: root}).Load([]netip.Addr{first}, day0); err == nil {
			t.Errorf("a key file of %q was accepted", content)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != content {
			t.Errorf("the key file was touched: %q, %v", got, err)
		}
	}
}
