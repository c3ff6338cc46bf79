package host_test

import (
	"context"
	"fmt"

	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// It needs the test bed that withbed starts, and is compiled only.
func Example() {
	ctx := context.Background()
	bed, err := testbed.Find()
	if err != nil {
		panic(err)
	}
	daemon, err := host.Start(ctx, bed, host.Settings{Binary: "dist/felhom-agentd", Dir: bed.Dir + "/host", Image: "v1", LXC: true})
	if err != nil {
		panic(err)
	}
	defer func() { _ = daemon.Stop() }()
	fmt.Println(daemon.Command("guest", "list"))
	web := guest.Guest{VMID: 8200, Path: bed.LXCPath()}
	fmt.Println(web.Booted(ctx))
}
