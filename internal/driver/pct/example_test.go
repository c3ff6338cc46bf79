package pct_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
)

// It needs a Proxmox VE node, and is compiled only.
func Example() {
	ctx := context.Background()
	node, err := pct.New(pct.Options{MountDir: "/var/lib/felhom/mounts"})
	if err != nil {
		panic(err)
	}
	spec := driver.Spec{Archive: "local:backup/vzdump-lxc-9100-2026_11_26-12_00_00.tar.zst", Hostname: "web", Storage: "local-lvm"}
	if err := node.Check(ctx, 8200, spec); err != nil {
		fmt.Println(err)
		return
	}
	err = node.Restore(ctx, 8200, spec, nil)
	if errors.Is(err, driver.ErrPartial) { // of an earlier process that was killed
		err = node.Discard(ctx, 8200, spec.Storage)
	}
	fmt.Println(err)
}
