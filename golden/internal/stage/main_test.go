package stage

import (
	"os"
	"testing"

	"github.com/felhom/felhom-golden/golden/internal/enter"
)

// TestMain lets this program be the first process inside a root.
func TestMain(m *testing.M) {
	if code, isChild := enter.MaybeChild(); isChild {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
