package acceptance_test

import (
	"fmt"

	"github.com/felhom/felhom-golden/internal/e2e/acceptance"
)

func Example() {
	for _, c := range acceptance.Cases(8200, "sha256//…", "own token", "another guest's token") {
		fmt.Println(c.Name, c.Path, c.Want)
	}
	// Output:
	// T1 /storage 200
	// T2 /storage 401
	// T3 /guests/8200/storage 403
	// T4 /storage curl 90
}
