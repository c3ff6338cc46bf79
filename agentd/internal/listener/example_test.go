package listener_test

import (
	"fmt"
	"net/netip"

	"github.com/felhom/felhom-golden/agentd/internal/listener"
)

func ExampleSourceOf() {
	fmt.Println(listener.SourceOf(netip.MustParseAddr("192.0.2.7")))
	fmt.Println(listener.SourceOf(netip.MustParseAddr("2001:db8::7")))
	// Output:
	// 192.0.2.7/32
	// 2001:db8::/64
}
