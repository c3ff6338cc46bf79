package provenance_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/golden/internal/provenance"
)

func ExampleCompare() {
	a := provenance.Manifest{Suite: "trixie", Tools: map[string]string{"mmdebstrap": "1.5.7-1"}}
	b := provenance.Manifest{Suite: "trixie", Tools: map[string]string{"mmdebstrap": "1.5.7-3"}}
	for _, d := range provenance.Compare(a, b) {
		fmt.Printf("%s: %s, %s\n", d.Input, d.A, d.B)
	}
	// Output:
	// tool mmdebstrap: 1.5.7-1, 1.5.7-3
}
