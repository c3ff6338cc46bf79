package engineunit_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/bootstrapper/internal/engineunit"
)

func Example() {
	dir, err := os.MkdirTemp("", "engineunit-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	unit := engineunit.Unit{Log: filepath.Join(dir, "log"), Status: filepath.Join(dir, "status")}
	state, err := unit.State(context.Background())
	fmt.Println(state.Failed, err)

	// systemd writes these when the unit has failed.
	if err := os.WriteFile(unit.Log, []byte("unable to configure the Docker daemon with file /etc/docker/daemon.json\n"), 0o600); err != nil {
		panic(err)
	}
	if err := os.WriteFile(unit.Status, []byte("exit-code exited 1\n"), 0o600); err != nil {
		panic(err)
	}
	state, err = unit.State(context.Background())
	fmt.Println(state.Failed, err)
	fmt.Println(state.Text)
	// Output:
	// false <nil>
	// true <nil>
	// docker.service has failed (exit-code, exited with 1): unable to configure the Docker daemon with file /etc/docker/daemon.json
}
