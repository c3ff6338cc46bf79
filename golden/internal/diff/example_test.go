package diff_test

import (
	"os"

	"github.com/felhom/felhom-golden/golden/internal/diff"
	"github.com/felhom/felhom-golden/golden/internal/image"
	"github.com/felhom/felhom-golden/golden/internal/inspect"
)

func ExampleCompare() {
	a := inspect.Report{Archive: "a.tar", Packages: []image.Package{{Name: "curl", Version: "8.14.1-2", Arch: "amd64"}}}
	b := inspect.Report{Archive: "b.tar", Packages: []image.Package{{Name: "curl", Version: "8.14.1-3", Arch: "amd64"}}}
	_ = diff.Compare(a, b).WriteText(os.Stdout) // to a terminal
	// Output:
	// ~ package curl:amd64: 8.14.1-2 -> 8.14.1-3
}
