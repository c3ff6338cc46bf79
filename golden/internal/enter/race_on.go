//go:build race

package enter

// childEnv is the environment of pid 1. The race detector, which only tests are built with,
// has each process wait for a second at its end, unless it is told otherwise.
var childEnv = []string{"GORACE=atexit_sleep_ms=0"}
