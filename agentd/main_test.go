package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/felhom/felhom-golden/internal/leaktest"
)

// The test binary is also the program.
func TestMain(m *testing.M) {
	testscript.Main(leaktest.Checked{M: m}, map[string]func(){
		program: func() { giveFigures(); main() },
	})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			// Paths in the configuration are absolute: it is made for each script.
			text := fmt.Sprintf("host_id: demo\nhub_url: https://hub.example\ncontroller_image: registry.example/felhom/controller:v1\n"+
				"listen: [\"127.0.0.1:18443\"]\nstate_dir: %[1]s/state\nmounts_dir: %[1]s/mounts\nhealth_socket: /run/felhom-test/health.sock\n"+
				"registry_access: credential\nregistry: {host: registry.example, username: puller, token_file: %[1]s/registry-token}\n", env.WorkDir)
			return errors.Join(
				os.WriteFile(filepath.Join(env.WorkDir, "agentd.yaml"), []byte(text), 0o600),
				os.WriteFile(filepath.Join(env.WorkDir, "registry-token"), []byte("upstream-secret\n"), 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// status N CMD… runs a command and wants that exit status.
			"status": func(ts *testscript.TestScript, _ bool, args []string) {
				want, got := args[0], 0
				if err := ts.Exec(args[1], args[2:]...); err != nil {
					state, ok := errors.AsType[*exec.ExitError](err)
					if !ok {
						ts.Fatalf("%v", err)
					}
					got = state.ExitCode()
				}
				if strconv.Itoa(got) != want {
					ts.Fatalf("exit status %d, want %s", got, want)
				}
			},
		},
	})
}
