package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/recipe"
)

// Each example's recipe must be one that build accepts, and bring along the
// files that it names: users copy the directory as it is.
func TestExampleRecipes(t *testing.T) {
	files, err := filepath.Glob("../examples/*/golden.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("want the recipes of six examples or more, got %q %v", files, err)
	}
	numbers := map[int]string{}
	for _, file := range files {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			r, err := recipe.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			if r.Name != filepath.Base(dir) {
				t.Errorf("want the directory's name, got name: %s", r.Name)
			}
			if other := numbers[r.Guest.VMID]; other != "" {
				t.Errorf("has the VMID of %s, so that one archive replaces the other", other)
			}
			numbers[r.Guest.VMID] = r.Name
			readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
			if err != nil {
				t.Fatal(err)
			}
			var sources []string
			for _, f := range r.Files {
				sources = append(sources, f.Source)
			}
			for _, s := range r.Apt.Sources {
				sources = append(sources, s.Key)
			}
			for _, source := range sources {
				if _, err := os.Stat(filepath.Join(dir, source)); err != nil && !strings.Contains(string(readme), "--output "+source) {
					t.Errorf("%s: neither there nor fetched by the README: %v", source, err)
				}
			}
		})
	}
}
