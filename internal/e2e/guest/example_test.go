package guest_test

import (
	"context"
	"fmt"

	"github.com/felhom/felhom-golden/internal/e2e/guest"
)

// It needs a guest of a plain liblxc host, and is compiled only.
func Example() {
	ctx := context.Background()
	web := guest.Guest{VMID: 8200, Path: "/var/lib/lxc"}
	state, err := web.Booted(ctx)
	if err != nil {
		panic(web.Console())
	}
	images, err := web.Ask(ctx, "docker", "image", "ls", "--quiet") // for an assertion only
	fmt.Println(state, images, err)
}
