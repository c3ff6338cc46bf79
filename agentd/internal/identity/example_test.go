package identity_test

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/identity"
)

func ExampleFiles_Load() {
	dir, err := os.MkdirTemp("", "identity")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	root, err := os.OpenRoot(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = root.Close() }()
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	first, err := identity.Files{Keys: root, Certificates: root}.Load(addrs, time.Now())
	fmt.Println(len(first.Made) > 0, err)
	again, err := identity.Files{Keys: root, Certificates: root}.Load(addrs, time.Now()) // the same keys, so guests' pins hold
	fmt.Println(len(again.Made), again.Current.Leaf.Equal(first.Current.Leaf), err)
	// Output:
	// true <nil>
	// 0 true <nil>
}
