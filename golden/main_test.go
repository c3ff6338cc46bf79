package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/leaktest"
)

// memoryEnv makes the test binary the program, which prints its peak last.
const memoryEnv = "FELHOM_GOLDEN_TEST_PRINT_PEAK"

func TestMain(m *testing.M) {
	if os.Getenv(memoryEnv) == "" {
		code := leaktest.Run(m)
		for _, undo := range after {
			if err := undo(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = max(code, 1)
			}
		}
		os.Exit(code)
	}
	code := mainCode()
	status, err := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	if err != nil || after == "" {
		panic("no VmHWM")
	}
	fmt.Fprintln(os.Stderr, "\npeak", strings.Fields(after)[0])
	os.Exit(code)
}

// after is called when all tests are over.
var after []func() error
