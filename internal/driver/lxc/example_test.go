package lxc_test

import (
	"context"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/directory"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
)

// It needs root and liblxc, and is compiled only.
func Example() {
	ctx := context.Background()
	const path, vmid = "/var/lib/lxc", 8200
	host := lxc.New(lxc.Options{Path: path, Storage: directory.New(path), MountDir: "/var/lib/felhom/mounts"})
	spec := driver.Spec{
		Archive: "/var/tmp/vzdump-lxc-9100-2026_11_26-12_00_00.tar.zst", Hostname: "web",
		Net: driver.Net{Bridge: "br0"},
	}
	if err := host.Check(ctx, vmid, spec); err != nil {
		fmt.Println(err)
		return
	}
	if err := host.Restore(ctx, vmid, spec, nil); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(host.Start(ctx, vmid), host.Shutdown(ctx, vmid, time.Minute), host.Destroy(ctx, vmid))
}
