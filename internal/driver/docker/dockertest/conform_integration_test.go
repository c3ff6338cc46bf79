//go:build integration

package dockertest

import (
	"context"
	"net"
	"testing"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

func TestEngineConforms(t *testing.T) {
	bed := testbed.FromEnv(t)
	bed.Lock(t) // tests of the bootstrapper remove images that they no longer use
	token, err := bed.Token()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", bed.Address+":0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	id := bed.TestID(t)
	missing := bed.Registry + "/felhom/controller:" + id
	t.Cleanup(func() { // the suite gives another image this name
		if err := bed.Engine(t).RemoveImage(context.Background(), missing); err != nil {
			t.Error(err)
		}
	})
	Conform(t, Bed{
		Host: bed.DockerHost, Username: bed.Username, Password: token,
		Healthy: bed.Registry + "/felhom/controller:v1", Exits: bed.Registry + "/felhom/controller:exits",
		Missing: missing, Address: bed.Address, Port: port, Name: id + "-", Label: testbed.TestLabel + "=" + id,
	})
}
