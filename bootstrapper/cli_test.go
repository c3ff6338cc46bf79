package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

// TestMain makes the test binary the program as well.
func TestMain(m *testing.M) {
	testscript.Main(leaktest.Checked{M: m}, map[string]func(){
		program: func() {
			os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
		},
	})
}

// TestScripts runs testdata/script. Each has $ENGINE, a fake engine whose
// registry has the images reg.example/c:{v1,v2,nohealth,exits,unhealthy}, and
// the guest's root in its directory "g".
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true, UpdateScripts: os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			// A unix socket's path is short; the script's directory is not.
			dir, err := os.MkdirTemp("", "fcb")
			if err != nil {
				return err
			}
			env.Defer(func() { _ = os.RemoveAll(dir) })
			e := dockertest.StartAt(env.T().(testing.TB), filepath.Join(dir, "e.sock"))
			for _, tag := range []string{"v1", "v2", "nohealth", "exits", "unhealthy", "late"} {
				e.Push("reg.example/c:" + tag)
			}
			e.SetLate(2 * time.Second)
			env.Setenv("ENGINE", e.Host)
			env.Values["engine"] = e
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// code N PROGRAM ARGS…: runs it and wants this exit code and, unless it is 0, an empty stdout.
			"code": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: code N PROGRAM [ARGS]")
				}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				err = ts.Exec(args[1], args[2:]...)
				got := 0
				if err != nil {
					text := err.Error()
					got, err = strconv.Atoi(strings.TrimPrefix(text, "exit status "))
					if err != nil {
						ts.Fatalf("%s", text)
					}
				}
				if got != want {
					ts.Fatalf("exit code %d, want %d\n%s", got, want, ts.ReadFile("stderr"))
				}
			},
			// fail STATUS REQUEST MESSAGE: the engine's next such request fails.
			"fail": func(ts *testscript.TestScript, _ bool, args []string) {
				status, err := strconv.Atoi(args[0])
				ts.Check(err)
				ts.Value("engine").(*dockertest.Engine).Fail(args[1], status, args[2])
			},
		},
	})
}
