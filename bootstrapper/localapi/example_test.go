package localapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/localapi"
	"github.com/felhom/felhom-golden/internal/pin"
)

func ExampleNew() {
	host := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"storage":"ok","guest":8200}`)
	}))
	defer host.Close()
	// In a guest: client, err := localapi.Open(localapi.BootstrapFile)
	client, err := localapi.New(localapi.Options{
		Endpoint: host.URL, Pins: []string{pin.SPKIOf(host.Certificate()).String()}, Token: "fgt_8200_example", Timeout: time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	storage, err := client.Storage(context.Background())
	fmt.Println(storage.VMID, storage.State, err)
	// Output: 8200 ok <nil>
}
