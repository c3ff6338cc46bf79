package freeport

import "testing"

// Tests that run in parallel get their addresses before their programs listen.
func TestNoAddressIsGivenTwice(t *testing.T) {
	given := map[string]bool{}
	for range 400 { // of 10,000 at random, two are the same almost always
		address := Address(t, "127.0.0.1")
		if given[address] {
			t.Fatalf("%s is given twice", address)
		}
		given[address] = true
	}
}
