package localapi_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/localapi"
	"github.com/felhom/felhom-golden/internal/pin"
)

func Example() {
	host := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"guest": 8200, "host_id": "demo", "agent": "1.0", "time": "2026-01-31T12:00:00Z"}`)
	}))
	host.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	host.StartTLS()
	defer host.Close()
	endpoint, err := contract.ParseEndpoint(host.URL)
	if err != nil {
		panic(err)
	}
	token, err := contract.ParseSecret("the-token-of-this-guest")
	if err != nil {
		panic(err)
	}

	client := &localapi.Client{Endpoint: endpoint, Pins: pin.Set{pin.SPKIOf(host.Certificate())}, Token: token}
	defer client.Close()
	guest, err := client.Guest(context.Background())
	fmt.Println(guest.Guest, guest.HostID, err)

	other := &localapi.Client{Endpoint: endpoint, Pins: pin.Set{{}}, Token: token} // the zero pin matches nothing
	defer other.Close()
	_, err = other.Guest(context.Background())
	fmt.Println(localapi.ClassOf(err) == localapi.OtherHost)
	// Output:
	// 8200 demo <nil>
	// true
}
