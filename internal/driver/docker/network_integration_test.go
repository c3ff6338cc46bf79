//go:build integration

package docker

import (
	"slices"
	"testing"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// TestSubnets asks a real engine, which has at least its own bridge.
func TestSubnets(t *testing.T) {
	c, err := New(testbed.FromEnv(t).DockerHost)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := c.Subnets(t.Context())
	if err != nil || !slices.ContainsFunc(list, func(s Subnet) bool { return s.Network == "bridge" && s.Prefix.IsValid() }) {
		t.Errorf("%+v, %v; want the network bridge with its subnet", list, err)
	}
}
