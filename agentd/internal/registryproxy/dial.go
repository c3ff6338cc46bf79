package registryproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// errForbiddenAddress is the error if a registry leads to an address that only
// a configured host may have.
var errForbiddenAddress = errors.New("the address is not a public one")

// notPublic are the ranges that a registry must not send the host to, beside
// those that [netip.Addr] has a method for. Metadata services are in the
// link-local and shared ranges, and one is at a public address.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared; 100.100.100.200 is a metadata service
	netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("192.0.0.0/24"), // 192.0.0.192 is a metadata service
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
}

// isPublic reports whether a host that no configuration names may be reached
// at the address. Of IPv6 only the allocated global range passes, less the
// parts of it that lead to an IPv4 address or nowhere.
func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.IsGlobalUnicast() && !addr.IsPrivate() &&
			!slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	return netip.MustParsePrefix("2000::/3").Contains(addr) &&
		!netip.MustParsePrefix("2001::/23").Contains(addr) && // Teredo and other protocols
		!netip.MustParsePrefix("2001:db8::/32").Contains(addr) &&
		!netip.MustParsePrefix("2002::/16").Contains(addr) && // 6to4
		!netip.MustParsePrefix("3fff::/20").Contains(addr)
}

// onlyPublic refuses the connection once the address is known, after names were
// resolved: a name can change its address between a look and the connection.
func onlyPublic(_ context.Context, _, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", address, err)
	}
	if !isPublic(a.Addr()) {
		return fmt.Errorf("connect to %s: %w", a, errForbiddenAddress)
	}
	return nil
}

type control func(ctx context.Context, network, address string, c syscall.RawConn) error

// newTransport returns a client's transport. It ignores a proxy of the
// environment, behind which the final address is not known, and uses HTTP/1.1,
// which costs less for large bodies than HTTP/2.
func newTransport(roots *x509.CertPool, check control) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, ControlContext: check}
	return &http.Transport{
		Protocols: &protocols,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &recordConn{Conn: c}, nil
		},
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		IdleConnTimeout:        time.Minute,
		MaxIdleConnsPerHost:    8,
		DisableCompression:     true,
	}
}

const (
	dialTimeout    = 10 * time.Second
	headerTimeout  = 30 * time.Second
	maxHeaderBytes = 64 << 10
)
