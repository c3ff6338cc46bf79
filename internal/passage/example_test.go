package passage_test

import (
	"fmt"
	"os"

	"github.com/felhom/felhom-golden/internal/passage"
)

// It needs root and a file system with ACLs, and is compiled only.
func Example() {
	dir, err := os.Open("/var/lib/felhom/mounts/8200")
	if err != nil {
		panic(err)
	}
	defer func() { _ = dir.Close() }()
	const guestRoot = 100000
	if err := passage.Only(int(dir.Fd()), guestRoot, passage.Walk); err != nil {
		panic(err)
	}
	fmt.Println(passage.Lets(dir.Name(), guestRoot))
}
