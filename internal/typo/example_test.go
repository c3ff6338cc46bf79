package typo_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/internal/typo"
)

func ExampleClosest() {
	known := []string{"provision", "guest", "check"}
	fmt.Println(typo.Closest("provison", known))
	fmt.Printf("%q\n", typo.Closest("serve", known))
	// Output:
	// provision
	// ""
}
