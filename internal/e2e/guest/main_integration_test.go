//go:build integration

package guest_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// TestMain runs the tests where root may map the ids that guests get: newuidmap
// reads /etc/subuid and no other file. It closes the stack that they share.
func TestMain(m *testing.M) {
	os.Exit(testbed.RunWithSubIDs(func() int {
		code := m.Run()
		if err := closeStack(); err != nil {
			fmt.Fprintln(os.Stderr, "close the stack:", err)
			code = max(code, 1)
		}
		return code
	}))
}
