package stage

import (
	"os"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

// TestMain lets this program be the first process inside a root.
func TestMain(m *testing.M) {
	if code, isChild := enter.MaybeChild(); isChild {
		os.Exit(code)
	}
	os.Exit(leaktest.Run(m))
}
