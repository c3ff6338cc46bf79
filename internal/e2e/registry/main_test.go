//go:build integration

package registry_test

import (
	"os"
	"testing"

	"github.com/felhom/felhom-golden/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
