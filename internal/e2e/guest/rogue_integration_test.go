//go:build integration

package guest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// rogue is a TLS server with a key that no guest pinned. It keeps what it receives
// after the handshake.
type rogue struct {
	address string

	mu          sync.Mutex
	connections int
	data        []byte
}

func newRogue(t *testing.T, address string) *rogue {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.ParseIP(address)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", net.JoinHostPort(address, "0"), &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &rogue{address: l.Addr().String()}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.connections++
			r.mu.Unlock()
			served.Go(func() { r.listen(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); served.Wait() })
	return r
}

func (r *rogue) listen(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf) // the handshake first
		r.mu.Lock()
		r.data = append(r.data, buf[:n]...)
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// heard returns how many came, and what they said.
func (r *rogue) heard() (int, []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connections, r.data
}
