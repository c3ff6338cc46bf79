package build

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
	if err := AllFindings(errs...); err != nil {
		return "", err
	}
	for _, w := range plan.Warnings {
		s.Progress.Line("warning: " + w)
	}
	st.Done("done", plan.Epoch.Format(time.RFC3339))
	return path, nil
}

// AllFindings returns one error for all of errs, joined errors apart, with the
// hint of each in its text. Its kind is the first of these that one of them has:
// interrupted, misuse, invalid, mismatch, not ready, failed. One error alone
// stays as it is, and none is nil.
func AllFindings(errs ...error) error {
	list := apart(nil, errors.Join(errs...))
	if len(list) < 2 {
		return errors.Join(list...)
	}
	kind := fault.Failed
	for _, k := range []fault.Kind{fault.NotReady, fault.Busy, fault.Mismatch, fault.Exists, fault.NotFound, fault.Invalid, fault.Misuse, fault.Interrupted} {
		for _, err := range list {
			if fault.Of(err) == k {
				kind = k
			}
		}
	}
	var lines []string
	for i, err := range list {
		lines = append(lines, err.Error())
		hint := fault.HintOf(err)
		if i+1 == len(list) {
			return fault.WrapHint(kind, &findings{strings.Join(lines, "\n"), list}, hint)
		}
		// Programs print the hint of the last one; those of the others, and
		// not the same one again and again, are part of the text.
		if hint != "" && hint != fault.HintOf(list[i+1]) {
			lines = append(lines, "hint: "+hint)
		}
	}
	return nil
}

// findings are errors whose text, with the hints, is known.
type findings struct {
	text string
	list []error
}

// Error returns all findings, a line or more for each.
func (f *findings) Error() string { return f.text }

// Is reports whether one of the findings is target. Kinds and hints of single
// findings do not show: those of the whole count.
func (f *findings) Is(target error) bool {
	for _, err := range f.list {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// apart appends to list the errors that err joins.
func apart(list []error, err error) []error {
	if err == nil {
		return list
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return append(list, err)
	}
	texts := []string{}
	for _, e := range joined.Unwrap() {
		texts = append(texts, e.Error())
	}
	if err.Error() != strings.Join(texts, "\n") {
		return append(list, err) // not of errors.Join
	}
	for _, e := range joined.Unwrap() {
		list = apart(list, e)
	}
	return list
}
