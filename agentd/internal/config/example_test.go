package config_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/config"
)

func ExampleParseGuests() {
	guests, err := config.ParseGuests("spec.yaml", []byte(`version: 1
guests:
  - {vmid: 8200, hostname: web, ip: 192.0.2.7/24}
  - {vmid: 8201, hostname: db, ip: dhcp}
`))
	for _, g := range guests {
		fmt.Println(g.VMID, g.Hostname)
	}
	fmt.Println(err)
	_, err = config.ParseGuests("spec.yaml", []byte("version: 1\nguests:\n  - {vmid: 8200, hostnmae: web}\n"))
	fmt.Println(err)
	// Output:
	// 8200 web
	// 8201 db
	// <nil>
	// spec.yaml:3:18: error: guests[0].hostnmae: unknown key; did you mean "hostname"?
}
