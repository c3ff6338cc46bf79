package finding_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/internal/finding"
)

func Example() {
	f := finding.Finding{Path: "guests[1].vmid", Line: 7, Column: 11, Message: "want a whole number from 100 to 999999999, got 12"}
	fmt.Println("spec.yaml:" + f.String())
	f.Severity = finding.Warning
	fmt.Println("spec.yaml:" + f.String())
	// Output:
	// spec.yaml:7:11: error: guests[1].vmid: want a whole number from 100 to 999999999, got 12
	// spec.yaml:7:11: warning: guests[1].vmid: want a whole number from 100 to 999999999, got 12
}
