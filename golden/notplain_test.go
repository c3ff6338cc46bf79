//go:build race || integration

package main

// isPlain reports whether this test has neither the race detector nor the packages
// of the test bed, which both take memory.
const isPlain = false
