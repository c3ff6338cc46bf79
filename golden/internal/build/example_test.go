package build_test

import (
	"context"
	"fmt"

	"github.com/felhom/felhom-golden/golden/internal/build"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/systemd"
)

// It needs root, mmdebstrap and a mirror.
func ExampleRun() {
	bake := func(ctx context.Context, r recipe.Recipe) {
		res, err := build.Run(ctx, r, build.Target{Dir: "."}, build.Settings{
			Cache: "/var/cache/felhom-golden", Bootstrap: "dist/felhom-controller-bootstrap", Units: systemd.Guest(),
		})
		if err != nil {
			fmt.Println(err, fault.HintOf(err))
			return
		}
		fmt.Println(res.Path, res.Manifest.Archive.SHA256)
	}
	_ = bake
}
