// Package freeport finds an address on which a test can have a program listen. It is for
// tests only.
package freeport

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// given holds the ports that Address has returned, whatever the host. The program of a test
// listens later: two tests that run in parallel must not get the same port.
var given sync.Map

// Address returns HOST:PORT on which nothing listens now. The port is one that the kernel gives
// to no socket by itself: the server of another test, also of a second run on the machine, would
// take it before the program does.
func Address(t testing.TB, host string) string {
	t.Helper()
	var err error
	for range 100 {
		var l net.Listener
		l, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, strconv.Itoa(20_000+rand.IntN(10_000))))
		if err != nil {
			continue // something else has it
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		address, port := l.Addr().String(), l.Addr().(*net.TCPAddr).Port
		if _, isGiven := given.LoadOrStore(port, true); isGiven {
			continue // its program may not listen yet
		}
		return address
	}
	t.Fatalf("no free port of %s: %v", host, err)
	return ""
}
