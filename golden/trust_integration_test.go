//go:build integration

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testTrust brings a certificate authority along by files alone, and wants it in
// the bundle that programs of the guest read, without a script of the recipe.
func testTrust(t *testing.T, b bakery) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Corp Root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b.recipe = filepath.Join(dir, "golden.yaml")
	for name, data := range map[string]string{
		"golden.yaml": bakeRecipe + "files: [{path: /usr/local/share/ca-certificates/corp.crt, source: corp.crt}]\n",
		"corp.crt":    string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	archive, log := bake(t, b.build(t.TempDir()))
	if !strings.Contains(log, ", 0 warning(s)") {
		t.Errorf("want no warning:\n%s", log)
	}
	bundle, err := exec.Command("tar", "--zstd", "-xOf", archive, "./etc/ssl/certs/ca-certificates.crt").Output()
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		number++
		if string(block.Bytes) == string(der) {
			if number < 50 {
				t.Errorf("it is number %d: want Debian's own before it", number)
			}
			return
		}
	}
	t.Errorf("%d certificates in the bundle, and the recipe's is not among them", number)
}
