package goldenid_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
)

func Example() {
	guest := goldenid.Named("local:backup/vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst")
	host := goldenid.Named("local:backup/vzdump-lxc-9100-2026_03_04-05_06_07.tar.zst")
	fmt.Println(guest.Compare(host))
	// Output:
	// older
}
