package timeline_test

import (
	"bytes"
	"fmt"

	"github.com/felhom/felhom-golden/internal/timeline"
)

func ExampleSVG() {
	svg := timeline.SVG(timeline.Picture{Title: "A boot", Bars: []timeline.Bar{{Name: "image", Class: timeline.Changed, LengthMS: 1200}}})
	fmt.Println(bytes.HasPrefix(svg, []byte("<svg ")), bytes.Contains(svg, []byte(">image<")))
	// Output: true true
}
