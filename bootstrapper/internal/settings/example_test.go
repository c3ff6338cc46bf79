package settings_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/bootstrapper/internal/settings"
)

func ExampleRender() {
	text := "hub: {{quote .HubURL}}\nguest: {{.GuestID}}\n"
	out, err := settings.Render("controller.yaml.tmpl", text, settings.Values{HubURL: "https://hub.example", GuestID: 8200})
	fmt.Printf("%s%v\n", out, err)
	// Output:
	// hub: "https://hub.example"
	// guest: 8200
	// <nil>
}
