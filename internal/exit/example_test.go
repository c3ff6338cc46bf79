package exit_test

import (
	"errors"
	"fmt"
	"os"

	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/fault"
)

func ExamplePrint() {
	err := fault.WrapHint(fault.Invalid, errors.New("read golden.yaml: line 3: unknown key"), "felhom-golden build --check finds all of them")
	code := exit.Print(os.Stdout, "felhom-golden", err)
	fmt.Println(int(code))
	// Output:
	// felhom-golden: read golden.yaml: line 3: unknown key
	// felhom-golden: hint: felhom-golden build --check finds all of them
	// 3
}
