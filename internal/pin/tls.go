package pin

import (
	"crypto/tls"
	"slices"
)

// ClientTLS returns a configuration that speaks TLS 1.3 to a server whose leaf
// matches pins, and to no other. The refusal comes in the handshake, before any
// request. Callers may add a ClientSessionCache: pins are checked on resumed
// connections too.
func ClientTLS(pins Set) *tls.Config {
	// A pinned set must not change under a running client.
	pins = slices.Clone(pins)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// The server's certificate is self-signed, and no authority vouches for
		// its name; the pin proves more than a chain could. No check is left
		// out: VerifyConnection decides in place of the chain, and an empty set
		// refuses every server. VerifyPeerCertificate would not suffice: it does
		// not run on resumed sessions.
		InsecureSkipVerify: true, //nolint:gosec // see above: VerifyConnection checks the pin
		VerifyConnection:   pins.Verify,
	}
}

// ServerTLS returns the configuration of a server that shows one of certs: TLS
// 1.3 and HTTP/1.1 only. HTTP/2 is off because it costs a quarter of the
// throughput of large downloads and gains nothing for one guest with few requests.
func ServerTLS(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: slices.Clone(certs),
		NextProtos:   []string{"http/1.1"},
	}
}
