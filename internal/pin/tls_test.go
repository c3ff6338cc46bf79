package pin_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/pin"
)

// The rows of the table "Go client, safely" that are about pins.
func TestClientAgainstServer(t *testing.T) {
	key, otherKey := newKey(t), newKey(t)
	cert, other := selfSigned(t, key), selfSigned(t, otherKey)
	renewed := selfSigned(t, key)
	spki, leaf := pin.SPKIOf(cert.Leaf), pin.LeafOf(cert.Leaf)
	otherSPKI, otherLeaf := pin.SPKIOf(other.Leaf), pin.LeafOf(other.Leaf)

	rogueChain := selfSigned(t, otherKey)
	rogueChain.Certificate = append(rogueChain.Certificate, cert.Certificate[0])
	stolenCert := tls.Certificate{Certificate: cert.Certificate, PrivateKey: otherKey}

	tests := []struct {
		name   string
		shown  tls.Certificate
		pins   pin.Set
		accept bool
		want   string // part of the refusal
	}{
		{name: "right spki pin", shown: cert, pins: pin.Set{spki}, accept: true},
		{name: "right leaf pin", shown: cert, pins: pin.Set{leaf}, accept: true},
		{name: "backup spki pin second", shown: cert, pins: pin.Set{otherSPKI, spki}, accept: true},
		{name: "backup leaf pin second", shown: cert, pins: pin.Set{otherLeaf, leaf}, accept: true},
		{name: "right pin between wrong ones of the other form", shown: cert, pins: pin.Set{otherLeaf, spki, otherLeaf}, accept: true},
		{name: "wrong spki pin", shown: cert, pins: pin.Set{otherSPKI}, want: "want " + otherSPKI.String() + ", got " + spki.String()},
		{name: "wrong leaf pin", shown: cert, pins: pin.Set{otherLeaf}, want: "want " + otherLeaf.String() + ", got " + leaf.String()},
		{name: "no pins", shown: cert, pins: nil, want: pin.ErrNoPins.Error()},
		{name: "empty list", shown: cert, pins: pin.Set{}, want: pin.ErrNoPins.Error()},
		{name: "zero pin", shown: cert, pins: pin.Set{{}}, want: "(an empty pin)"},
		{name: "pinned certificate with another private key", shown: stolenCert, pins: pin.Set{spki, leaf}, want: "invalid signature"},
		{name: "rogue leaf with pinned certificate appended, spki", shown: rogueChain, pins: pin.Set{spki}, want: "does not match the pin"},
		{name: "rogue leaf with pinned certificate appended, leaf", shown: rogueChain, pins: pin.Set{leaf}, want: "does not match the pin"},
		{name: "expired certificate", shown: selfSigned(t, key, expired), pins: pin.Set{spki}, accept: true},
		{name: "renewed with the same key, spki", shown: renewed, pins: pin.Set{spki}, accept: true},
		{name: "renewed with the same key, leaf", shown: renewed, pins: pin.Set{leaf}, want: "does not match the pin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := startServer(t, pin.ServerTLS(tt.shown), nil)
			status, err := get(t, srv.URL, pin.ClientTLS(tt.pins))
			if tt.accept {
				if err != nil || status != http.StatusOK || srv.requests.Load() != 1 {
					t.Fatalf("got status %d, error %v after %d requests; want 200 after one", status, err, srv.requests.Load())
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			if n := srv.requests.Load(); n != 0 {
				t.Errorf("%d requests reached the handler of a refused server", n)
			}
		})
	}
}

// The rows about normal verification: what clients that hold the certificate
// itself can rely on.
func TestLeafAsRoot(t *testing.T) {
	key := newKey(t)
	plain, ca := selfSigned(t, key), selfSigned(t, key, authority)
	expiredCert := selfSigned(t, key, expired)
	tests := []struct {
		name          string
		shown, root   tls.Certificate
		wantInvalid   bool
		wantAuthority bool // the error is about an unknown authority
	}{
		{name: "not an authority", shown: plain, root: plain},
		{name: "an authority", shown: ca, root: ca},
		{name: "expired", shown: expiredCert, root: expiredCert, wantInvalid: true},
		{name: "renewed with the same key", shown: selfSigned(t, key), root: plain, wantAuthority: true},
		{name: "authority renewed with the same key", shown: selfSigned(t, key, authority), root: ca, wantAuthority: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := startServer(t, pin.ServerTLS(tt.shown), nil)
			roots := x509.NewCertPool()
			roots.AddCert(tt.root.Leaf)
			_, err := get(t, srv.URL, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13})
			if accepted := err == nil; accepted == (tt.wantInvalid || tt.wantAuthority) {
				t.Fatalf("got error %v", err)
			}
			if _, is := errors.AsType[x509.CertificateInvalidError](err); is != tt.wantInvalid {
				t.Errorf("got error %v, want one of an expired certificate: %v", err, tt.wantInvalid)
			}
			if _, is := errors.AsType[x509.UnknownAuthorityError](err); is != tt.wantAuthority {
				t.Errorf("got error %v, want one of an unknown authority: %v", err, tt.wantAuthority)
			}
		})
	}
}

// VerifyPeerCertificate ran once in five connections of a session cache, so
// the check must not be there.
func TestCheckRunsOnResumption(t *testing.T) {
	cert, other := selfSigned(t, newKey(t)), selfSigned(t, newKey(t))
	srv := startServer(t, pin.ServerTLS(cert), nil)
	cache := tls.NewLRUClientSessionCache(8)

	config := pin.ClientTLS(pin.Set{pin.SPKIOf(cert.Leaf)})
	config.ClientSessionCache = cache
	verify, checks, resumed := config.VerifyConnection, 0, 0
	config.VerifyConnection = func(state tls.ConnectionState) error {
		checks++
		if state.DidResume {
			resumed++
		}
		return verify(state)
	}
	for range 5 {
		if _, err := get(t, srv.URL, config); err != nil {
			t.Fatal(err)
		}
	}
	if checks != 5 || resumed == 0 {
		t.Errorf("the check ran %d times in 5 connections, %d of them resumed; want 5 and some", checks, resumed)
	}

	repinned := pin.ClientTLS(pin.Set{pin.SPKIOf(other.Leaf)})
	repinned.ClientSessionCache = cache
	var mismatch *pin.MismatchError
	if _, err := get(t, srv.URL, repinned); !errors.As(err, &mismatch) {
		t.Errorf("a resumed session passed another pin: got error %v", err)
	}
	if n := srv.requests.Load(); n != 5 {
		t.Errorf("%d requests reached the handler, want 5", n)
	}
}

func TestOnlyTLS13AndHTTP1(t *testing.T) {
	cert := selfSigned(t, newKey(t))
	pins := pin.Set{pin.SPKIOf(cert.Leaf)}

	t.Run("server refuses a client of 1.2", func(t *testing.T) {
		srv := startServer(t, pin.ServerTLS(cert), nil)
		config := pin.ClientTLS(pins)
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		if _, err := get(t, srv.URL, config); err == nil {
			t.Error("the server spoke TLS 1.2")
		}
	})
	t.Run("client refuses a server of 1.2", func(t *testing.T) {
		config := pin.ServerTLS(cert)
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
		srv := startServer(t, config, nil)
		if _, err := get(t, srv.URL, pin.ClientTLS(pins)); err == nil {
			t.Error("the client spoke TLS 1.2")
		}
	})
	t.Run("http/2 is not agreed on", func(t *testing.T) {
		srv := startServer(t, pin.ServerTLS(cert), nil)
		config := pin.ClientTLS(pins)
		config.NextProtos = []string{"h2", "http/1.1"}
		conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
			t.Errorf("agreed on %q, want http/1.1", got)
		}
	})
}

func TestVerifyWithoutCertificate(t *testing.T) {
	cert := selfSigned(t, newKey(t))
	for _, certs := range [][]*x509.Certificate{nil, {}, {nil}} {
		err := pin.Set{pin.SPKIOf(cert.Leaf)}.Verify(tls.ConnectionState{PeerCertificates: certs})
		if !errors.Is(err, pin.ErrNoCertificate) {
			t.Errorf("got error %v, want %v", err, pin.ErrNoCertificate)
		}
	}
}

func TestClientKeepsItsOwnPins(t *testing.T) {
	cert, other := selfSigned(t, newKey(t)), selfSigned(t, newKey(t))
	pins := pin.Set{pin.SPKIOf(other.Leaf)}
	config := pin.ClientTLS(pins)
	pins[0] = pin.SPKIOf(cert.Leaf)
	if err := config.VerifyConnection(tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert.Leaf}}); err == nil {
		t.Error("a pin that was put into the caller's set afterwards was accepted")
	}
}

func BenchmarkVerify(b *testing.B) {
	cert := selfSigned(b, newKey(b))
	pins := pin.Set{pin.LeafOf(cert.Leaf), pin.SPKIOf(cert.Leaf)}
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert.Leaf}}
	b.ReportAllocs()
	for b.Loop() {
		if err := pins.Verify(state); err != nil {
			b.Fatal(err)
		}
	}
}
