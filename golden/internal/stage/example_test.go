package stage_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/golden/internal/stage"
)

func ExampleCheckBinary() {
	// A script is not a program that a guest's unit can start.
	fmt.Println(stage.CheckBinary("example_test.go", "amd64") != nil)
	// Output: true
}
