package pctconf_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/internal/pctconf"
)

func Example() {
	config, findings := pctconf.Parse([]byte("hostname: web\nmemory: 8\nmp0: /srv/mounts/8200,mp=/etc/felhom-bootstrap,ro=1\n"))
	for _, f := range findings {
		fmt.Println(f)
	}
	for _, p := range config.Mounts() {
		fmt.Println(p.Key, p.Source, p.Target, p.ReadOnly)
	}
	// Output:
	// line 2: memory: "8": want a whole number from 16 to 2147483647
	// mp0 /srv/mounts/8200 /etc/felhom-bootstrap true
}
