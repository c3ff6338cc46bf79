//go:build integration

package guest_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// TestMain runs the tests where root may map the ids that guests get: newuidmap
// reads /etc/subuid and no other file.
func TestMain(m *testing.M) {
	if os.Getenv("FELHOM_SUBIDS") == "" {
		fmt.Fprintln(os.Stderr, testbed.ExecWithSubIDs(os.Args, append(os.Environ(), "FELHOM_SUBIDS=1")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}
