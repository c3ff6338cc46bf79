package recipe

import (
	"crypto/sha256"
	"encoding/binary"

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
		byDefault := r.Name
		doc.Root().Decode(&r)
		if v, ok := doc.At("controller.container"); ok {
			r.Controller.Settings = containerspec.Decode(v)
		}
		if vmid, given := doc.At("guest.vmid"); r.Name != byDefault && (!given || vmid.IsNull()) {
			r.Guest.VMID = vmidOf(r.Name)
		}
		check(doc, &r)
	}
	if err := doc.Err(); err != nil {
		return Recipe{}, fault.WrapHint(fault.Invalid, err,
			"docs/golden.md explains every key; felhom-golden build --print-recipe prints the built-in recipe")
	}
	return r, nil
}

// The VMIDs of recipes that have a name and no VMID of their own: nine digits,
// which begin as that of the built-in recipe does.
const (
	firstNamedVMID = 910_000_000
	namedVMIDs     = 10_000_000
)

// vmidOf returns a VMID for the recipe with this name. The name of an archive
// has the VMID and the time of the sources, so that two recipes of one day
// would give one name if they had the same VMID.
func vmidOf(name string) int {
	sum := sha256.Sum256([]byte(name))
	return firstNamedVMID + int(binary.BigEndian.Uint64(sum[:8])%namedVMIDs)
}
