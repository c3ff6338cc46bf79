package contract_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/internal/contract"
)

func ExampleParse() {
	data := []byte(`{
  "local_api_endpoint": "https://192.0.2.10:8443/",
  "local_api_pin_spki_sha256": "uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=",
  "local_api_token": "an-opaque-guest-token",
  "controller_image": "registry.example/admin/controller:v1"
}
`)
	b, findings := contract.Parse(data)
	if findings.Err() == nil {
		fmt.Println(b.ControllerImage)
		return
	}
	fmt.Print(findings.Format("bootstrap.json"))
	// Output:
	// bootstrap.json:2:25: error: local_api_endpoint: the "/" at the end does not belong here; remove it
	//       "local_api_endpoint": "https://192.0.2.10:8443/",
	//                             ^
}
