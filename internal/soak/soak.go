// Package soak sets the length of randomised tests and lets a run be repeated, kills
// commands for them, and finds what those left. A test calls [Start] once. It is for tests
// only. It is a package so that all of them read the environment and look in the same way.
package soak

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Start returns the source of a randomised test, and its number of rounds: the
// given one, times the environment variable SOAK. SOAK_SEED repeats the run whose
// log has that seed.
func Start(t testing.TB, rounds int) (*rand.Rand, int) {
	t.Helper()
	seed := number(t, "SOAK_SEED", uint64(time.Now().UnixNano()))
	t.Logf("SOAK_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0)), rounds * int(number(t, "SOAK", 1)) //nolint:gosec // a run can be repeated
}

// IsLong reports whether tests should make what takes minutes: SOAK is set.
func IsLong() bool { return os.Getenv("SOAK") != "" }

func number(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
