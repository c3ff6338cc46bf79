//go:build !race

package enter

// childEnv is the environment of pid 1: the program's own comes in the order.
var childEnv = []string{}
