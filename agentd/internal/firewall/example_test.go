package firewall_test

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/felhom/felhom-golden/agentd/internal/firewall"
)

func ExampleNewPlan() {
	plan, err := firewall.NewPlan([]netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:8443")}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	table, _, _ := strings.Cut(plan.Text(), " {")
	fmt.Println(table)
	// Output: table bridge felhom_agentd
}
