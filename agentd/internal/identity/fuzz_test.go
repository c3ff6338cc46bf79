package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// FuzzKey: what of a key's file is refused is not quoted, and what is taken is a key
// that is written as it was.
func FuzzKey(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	text, err := encodeKey(key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add(bytes.Replace(text, []byte("PRIVATE"), []byte("PUBLIC"), 2))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parseKey("pin.key", text)
		if err != nil {
			if key != nil || len(err.Error()) > 200 {
				t.Errorf("key %v, error %v", key != nil, err)
			}
			block, _ := pem.Decode(text)
			if block != nil && len(block.Bytes) > 8 && strings.Contains(err.Error(), string(block.Bytes)) {
				t.Errorf("the error quotes the key: %v", err)
			}
			return
		}
		again, err := encodeKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if read, err := parseKey("pin.key", again); err != nil || !read.Equal(key) {
			t.Errorf("the key is written as another one: %v", err)
		}
	})
}

func FuzzCertificate(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	now, addrs := time.Now(), []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	leaf, err := makeCertificate(key, addrs, now)
	if err != nil {
		f.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: leaf.Raw})
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		read := parseCertificate(text)
		if read == nil {
			return
		}
		if isUsable(read, key, addrs, now) && !bytes.Equal(read.RawSubjectPublicKeyInfo, leaf.RawSubjectPublicKeyInfo) {
			t.Errorf("a certificate of another key is taken for the host's: %x", read.Raw)
		}
	})
}
