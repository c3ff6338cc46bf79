package rules_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/golden/internal/rules"
)

func ExampleByID() {
	r, ok := rules.ByID("machine-id")
	fmt.Println(ok, r.Severity, r.Group)
	// Output:
	// true error identity
}
