package main

import (
	"crypto/tls"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/felhom/felhom-golden/internal/pin"
)

// appearance is what the daemon shows of itself now.
type appearance struct {
	certificate tls.Certificate
	listen      []string
}

// show makes the daemon show the host from the next handshake on. Its listeners
// are another matter.
func (s *service) show(h host) {
	now := &appearance{certificate: h.identity.Current}
	var names []string
	for _, a := range h.addrs {
		now.listen = append(now.listen, a.String())
		names = append(names, a.String())
		if a.Port() == 443 { // a client leaves out the scheme's own port
			names = append(names, strings.TrimSuffix(a.String(), ":443"))
		}
	}
	if before := s.shown.Swap(now); before != nil {
		s.logger.WithFields(logrus.Fields{"listen": now.listen, "pin": pin.SPKIOf(now.certificate.Leaf).String()}).Info("key, certificate or addresses changed")
		if !slices.Equal(before.listen, now.listen) {
			s.notify("STATUS=serving " + strings.Join(now.listen, ", "))
		}
	}
	s.setHosts(names)
}

// tlsConfig returns the configuration whose certificate is the one that is shown
// at the moment of each handshake.
func (s *service) tlsConfig() *tls.Config {
	c := pin.ServerTLS()
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &s.shown.Load().certificate, nil }
	// A client that resumes a session checks the certificate of that session: after
	// a change of the key it would refuse its own host.
	c.SessionTicketsDisabled = true
	return c
}
