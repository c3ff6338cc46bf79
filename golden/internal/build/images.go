package build

import (
	"fmt"

	"github.com/distribution/reference"

	"github.com/felhom/felhom-golden/golden/internal/preload"
	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/fault"
)

// imageWarnings says what is doubtful about the images that r brings along:
// versions of the controller that disagree, archives of other images, and
// guests that would pull.
func imageWarnings(r recipe.Recipe, images []preload.Image) ([]string, error) {
	list := otherVersions(r)
	var errs []error
	for _, img := range images {
		warnings, err := img.Warnings()
		if err != nil {
			errs = append(errs, fault.Wrap(fault.Invalid, fmt.Errorf("preload %s: %w", img.Reference, err)))
		}
		list = append(list, warnings...)
	}
	return list, fault.All(errs...)
}

// otherVersions names the images of preload that are the controller's in another
// version: mostly a tag that was changed in one of the two places.
func otherVersions(r recipe.Recipe) (list []string) {
	controller, err := reference.ParseNormalizedNamed(r.Controller.Image)
	if err != nil {
		return nil // there is none: the recipe was checked
	}
	for i, p := range r.Preload {
		named, err := reference.ParseNormalizedNamed(p.Image)
		if err != nil || named.Name() != controller.Name() {
			continue
		}
		text := "guests bring both along, and run the one that the host names"
		if named.String() == controller.String() {
			text = "these are two spellings of one image: remove one"
		}
		list = append(list, fmt.Sprintf("controller.image is %s, and preload[%d].image is %s: %s", r.Controller.Image, i, p.Image, text))
	}
	return list
}
