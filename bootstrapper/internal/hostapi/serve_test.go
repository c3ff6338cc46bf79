package hostapi

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/localapi"
	"github.com/felhom/felhom-golden/internal/pin"
)

// serve starts a host and returns a client that pins it.
func serve(t *testing.T, handler http.HandlerFunc) *localapi.Client {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	endpoint, err := contract.ParseEndpoint(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := contract.ParseSecret("fgt_8200_secret")
	if err != nil {
		t.Fatal(err)
	}
	c := &localapi.Client{Endpoint: endpoint, Pins: pin.Set{pin.SPKIOf(server.Certificate())}, Token: secret}
	t.Cleanup(c.Close)
	return c
}
