//go:build integration

package guest_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

// TestMain runs the tests where root may map the ids that guests get: newuidmap
// reads /etc/subuid and no other file.
func TestMain(m *testing.M) {
	os.Exit(testbed.RunWithSubIDs(func() int { return leaktest.Run(tests{m}) }))
}

// tests are all tests with the stack that they share, which is closed after them.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	code := t.m.Run()
	if err := closeStack(); err != nil {
		fmt.Fprintln(os.Stderr, "close the stack:", err)
		code = max(code, 1)
	}
	return code
}
