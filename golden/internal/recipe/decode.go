package recipe

import (
	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/strictyaml"
)

// Parse reads data as a recipe. name is its name in the findings, which come
// all at once as a [*strictyaml.Findings]. Keys that are absent have the value
// of the built-in default.
func Parse(name string, data []byte) (Recipe, error) {
	r, err := Default()
	if err != nil {
		return Recipe{}, err
	}
	return parse(name, data, r)
}

// parse lays data over the recipe r.
func parse(name string, data []byte, r Recipe) (Recipe, error) {
	doc := strictyaml.Read(name, data, strictyaml.Options{MaxBytes: MaxBytes, Aliases: true})
	if doc.Empty() {
		doc.Add("", "the document is empty: want at least \"version: 1\"")
	} else {
		doc.Root().Decode(&r)
		if v, ok := doc.At("controller.container"); ok {
			r.Controller.Settings = containerspec.Decode(v)
		}
		check(doc, &r)
	}
	if err := doc.Err(); err != nil {
		return Recipe{}, fault.WrapHint(fault.Invalid, err,
			"docs/golden.md explains every key; felhom-golden build --print-recipe prints the built-in recipe")
	}
	return r, nil
}
