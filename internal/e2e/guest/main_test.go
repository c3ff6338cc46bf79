// The tests of the build with integration have a TestMain of their own.

//go:build !integration

package guest_test

import (
	"os"
	"testing"

	"github.com/felhom/felhom-golden/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
