package timeline_test

import (
	"bytes"
	"fmt"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/bootstrapper/internal/timeline"
)

func ExampleSVG() {
	svg := timeline.SVG(record.Result{Run: "r1", Steps: []record.Step{{Step: "image", Result: "changed", DurationMS: 1200}}})
	fmt.Println(bytes.HasPrefix(svg, []byte("<svg ")), bytes.Contains(svg, []byte("image")))
	// Output: true true
}
