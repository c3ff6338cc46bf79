package build

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/preload"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/golden/internal/stage"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Check finds what would keep [Run] from baking r, without baking: the target,
// the files that r names, the programs of the build, and whether mirrors and
// registries answer. It writes nothing, and returns the path that the archive
// would have. Its error has all findings, each with its hint.
func Check(ctx context.Context, r recipe.Recipe, t Target, s Settings) (path string, err error) {
	st := s.Progress.Start("check")
	images := wants(r)
	errs := make([]error, 2+len(images))
	errs[0] = checkTarget(t)
	var plan stage.Plan
	var wg sync.WaitGroup
	wg.Go(func() {
		plan, errs[1] = stage.Resolve(ctx, r, stage.Options{Epoch: s.Epoch, SealSpec: fmt.Sprint(r.Seal)})
	})
	for i, w := range images {
		wg.Go(func() { errs[2+i] = preload.Check(ctx, w, r.Arch) })
	}
	wg.Wait()
	if errs[0] == nil && errs[1] == nil {
		path, errs[0] = targetPath(t, r, plan.Epoch)
	}
	if err := fault.All(errs...); err != nil {
		return "", err
	}
	for _, w := range plan.Warnings {
		s.Progress.Line("warning: " + w)
	}
	st.Done("done", plan.Epoch.Format(time.RFC3339))
	return path, nil
}
