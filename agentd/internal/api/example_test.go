package api_test

import (
	"crypto/tls"
	"log"
	"net"
	"os"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
)

// It needs the host's certificate and state directories, and is compiled only.
func Example() {
	store, err := guests.Open("/var/lib/felhom/guests", "/var/lib/felhom", time.Now)
	if err != nil {
		panic(err)
	}
	defer func() { _ = store.Close() }()
	handler := api.New(api.Options{
		Guests: store, HostID: "demo", Version: "1.0", Hosts: []string{"192.0.2.1:8443"},
		ReportsPerMinute: 60, Now: time.Now, Event: func(api.Event) {},
	})
	listener, err := net.Listen("tcp", "192.0.2.1:8443")
	if err != nil {
		panic(err)
	}
	complaints := log.New(os.Stderr, "", 0)
	conf := &tls.Config{MinVersion: tls.VersionTLS13} // with the certificate of package identity
	err = api.HTTP(handler, complaints).Serve(api.TLS(listener, conf, complaints))
	log.Println(err)
}
