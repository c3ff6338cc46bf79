package recipe_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/golden/internal/recipe"
)

func ExampleParse() {
	r, err := recipe.Parse("golden.yaml", []byte("version: 1\nname: web\nguest: {cores: 2}\n"))
	fmt.Println(r.Name, r.Suite, r.Guest.Cores, err)
	_, err = recipe.Parse("golden.yaml", []byte("version: 1\nguets: {cores: 2}\n"))
	fmt.Println(err)
	// Output:
	// web trixie 2 <nil>
	// golden.yaml:2:1: error: guets: unknown key; did you mean "guest"?
}
