package fault_test

import (
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/internal/fault"
)

func ExampleWrapHint() {
	err := fault.WrapHint(fault.NotFound, errors.New("bridge vmbr7 does not exist"), "name another one with --bridge")
	err = fmt.Errorf("provision guest 8200: %w", err)
	fmt.Println(err)
	fmt.Println(fault.Of(err) == fault.NotFound, fault.HintOf(err))
	// Output:
	// provision guest 8200: bridge vmbr7 does not exist
	// true name another one with --bridge
}
