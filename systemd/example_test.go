package systemd_test

import (
	"fmt"
	"io/fs"

	"github.com/felhom/felhom-golden/systemd"
)

func Example() {
	unit, err := fs.ReadFile(systemd.Guest(), systemd.MountUnit)
	fmt.Println(len(unit) > 0, err)
	// Output: true <nil>
}
