package build

import (
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/recipe"
)

func TestOtherVersionsOfTheControllerAreWarnedOf(t *testing.T) {
	const digest = "@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for _, tt := range []struct {
		name, controller, preload string
		want                      string // part of the warning; "" if there is none
	}{
		{"no controller", "", "registry.example/team/app:v1", ""},
		{"another image", "registry.example/team/app:v2", "registry.example/team/proxy:v1", ""},
		{"another registry", "registry.example/team/app:v2", "mirror.example/team/app:v1", ""},
		{"older tag", "registry.example/team/app:v2", "registry.example/team/app:v1", "controller.image is registry.example/team/app:v2, and preload[1].image is registry.example/team/app:v1: guests bring both"},
		{"digest", "registry.example/team/app:v2", "registry.example/team/app" + digest, "guests bring both"},
		{"short form", "nginx:1", "docker.io/library/nginx:2", "guests bring both"},
		{"two spellings", "nginx:1", "docker.io/library/nginx:1", "two spellings of one image"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := recipe.Recipe{Controller: recipe.Controller{Image: tt.controller}, Preload: []recipe.Preload{{Image: "registry.example/base:1"}, {Image: tt.preload}}}
			got, err := imageWarnings(r, nil)
			if err != nil || (tt.want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "\n"), tt.want) {
				t.Errorf("got %q %v, want %q", got, err, tt.want)
			}
		})
	}
}
