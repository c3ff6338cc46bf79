package api

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// Registry answers all paths below /v2/. It decides which images the guest may
// pull.
type Registry interface {
	Serve(w http.ResponseWriter, r *http.Request, g registryproxy.Guest)
}

// registryRoutes returns the rows of the registry. It refuses other methods on
// its paths itself, because engines show its answer.
func (s *Server) registryRoutes() []Route {
	if s.registry == nil {
		return nil
	}
	return registryRows(s.registry.Serve)
}

func registryRows(serve func(w http.ResponseWriter, r *http.Request, g registryproxy.Guest)) []Route {
	return []Route{
		{Method: http.MethodGet, Path: registryproxy.Prefix, Right: OwnImages, serve: serve},
		{Method: http.MethodHead, Path: registryproxy.Prefix, Right: OwnImages, serve: serve},
	}
}

// isRegistry reports whether the request is one for the registry.
func (s *Server) isRegistry(r *http.Request) bool {
	return s.registry != nil && strings.HasPrefix(r.URL.EscapedPath(), registryproxy.Prefix)
}

// puller returns the guest in the form for the registry.
func (s *Server) puller(tok token.Token, m guests.Match) registryproxy.Guest {
	return registryproxy.Guest{VMID: m.VMID, IsValid: func() bool {
		_, err := s.guests.Authenticate(tok)
		return !errors.Is(err, guests.ErrUnknownToken) // a store that cannot be read ends no pull
	}}
}

// claimed returns the token of exactly one Authorization header, or "". Engines
// show a registry a user name and a password: there the password is the token,
// and every user name is accepted.
func (s *Server) claimed(r *http.Request) string {
	headers := r.Header.Values("Authorization")
	if tok := bearer(headers); tok != "" || !s.isRegistry(r) || len(headers) != 1 {
		return tok
	}
	scheme, encoded, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return ""
	}
	pair, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	_, tok, _ := strings.Cut(string(pair), ":")
	return tok
}

// challenge returns the header by which a client without a token learns how to
// send one.
func (s *Server) challenge(r *http.Request) string {
	if s.isRegistry(r) {
		return `Basic realm="felhom"` // of Bearer, engines expect the address of a token server
	}
	return `Bearer realm="felhom"`
}
