package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/preload"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/golden/internal/stage"
	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Check finds what would keep [Run] from baking r, without baking: the target,
// the files that r names, the programs of the build and of the guest, and whether
// mirrors and registries answer. The caller has reported a guest's program that is
// missing: "". It writes nothing, and returns the path that the archive
// would have. Its error has all findings, each with its hint.
func Check(ctx context.Context, r recipe.Recipe, t Target, s Settings) (path string, err error) {
	st := s.Progress.Start("check")
	images := wants(r)
	found := make([]preload.Image, len(images))
	errs := make([]error, 2+len(images))
	errs[0] = checkTarget(t)
	errs = append(errs, checkCache(s.Cache))
	if s.Bootstrap != "" {
		errs = append(errs, stage.CheckBinary(s.Bootstrap, r.Arch))
	}
	var plan stage.Plan
	var wg sync.WaitGroup
	wg.Go(func() {
		plan, errs[1] = stage.Resolve(ctx, r, stage.Options{Epoch: s.Epoch, Engine: s.Engine, SealSpec: fmt.Sprint(r.Seal)})
	})
	for i, w := range images {
		wg.Go(func() { found[i], errs[2+i] = preload.Check(ctx, w, r.Arch) })
	}
	wg.Wait()
	found = slices.DeleteFunc(found, func(i preload.Image) bool { return i.Reference == "" }) // has its error by now
	warnings, err := imageWarnings(r, found)
	errs = append(errs, err)
	if errs[0] == nil && errs[1] == nil {
		path, errs[0] = targetPath(t, r, plan.Epoch)
	}
	for _, path := range containerspec.SecretLooking(r.Controller.Settings) {
		warnings = append(warnings, "controller.container."+path+" "+containerspec.SecretAdvice)
	}
	for _, w := range append(plan.Warnings, warnings...) {
		s.Progress.Line("warning: " + w)
	}
	if err := fault.All(errs...); err != nil {
		return "", err
	}
	st.Done("done", plan.Epoch.Format(time.RFC3339))
	return path, nil
}

// checkCache refuses a cache that is, or would be below, something else than a
// directory.
func checkCache(path string) error {
	const hint = "name a directory, or one that can be made"
	for dir := path; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir):
		case err != nil:
			return misplaced(fmt.Errorf("look at the cache: %w", err), hint)
		case !info.IsDir():
			return misplaced(fmt.Errorf("look at the cache: %s is not a directory", dir), hint)
		default:
			return nil
		}
	}
}
