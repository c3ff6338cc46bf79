//go:build integration

package guest_test

import (
	"os"
	"testing"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// TestMain runs the tests where root may map the ids that guests get: newuidmap
// reads /etc/subuid and no other file.
func TestMain(m *testing.M) {
	os.Exit(testbed.RunWithSubIDs(m.Run))
}
