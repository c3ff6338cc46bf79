package lan_test

import (
	"os"
	"testing"

	"github.com/felhom/felhom-golden/internal/leaktest"
)

// cleanups are called when all tests are over.
var cleanups []func()

func TestMain(m *testing.M) {
	code := leaktest.Run(m)
	for _, f := range cleanups {
		f()
	}
	os.Exit(code)
}
