//go:build integration

package testbed_test

import (
	"context"
	"crypto/rand"
	"net"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// A bridge keeps its MAC address when guests come and go: with that of a guest, the
// others would lose the host until they ask for its address again.
func TestBridgeKeepsItsAddress(t *testing.T) {
	bridge := testbed.FromEnv(t).Bridge
	before, err := net.InterfaceByName(bridge)
	if err != nil {
		t.Fatal(err)
	}
	port := "fgm" + rand.Text()[:8]
	ip := func(args ...string) {
		t.Helper()
		if _, err := run.Run(t.Context(), run.Cmd{Path: "ip", Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	ip("link", "add", "name", port, "address", "00:00:00:00:00:02", "type", "veth", "peer", "name", port+"p") // lower than all others
	t.Cleanup(func() {
		_, err := run.Run(context.WithoutCancel(t.Context()), run.Cmd{Path: "ip", Args: []string{"link", "delete", "dev", port}})
		if err != nil {
			t.Error(err)
		}
	})
	ip("link", "set", "dev", port, "master", bridge, "up")
	after, err := net.InterfaceByName(bridge)
	if err != nil {
		t.Fatal(err)
	}
	if after.HardwareAddr.String() != before.HardwareAddr.String() {
		t.Errorf("with a new port it changes from %s to %s", before.HardwareAddr, after.HardwareAddr)
	}
}
