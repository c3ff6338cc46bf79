package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/soak"
)

// A check on a host without state makes a directory for its look. One that was killed meanwhile
// leaves nothing that the next one, of whatever configuration, does not remove.
func TestKilledCheckIsSwept(t *testing.T) {
	const atWork = "FELHOM_TEST_CHECK_STATE"
	if state := os.Getenv(atWork); state != "" { // the process that is killed
		cfg, _, err := withoutState(config.Config{StateDir: state})
		must(t, err)
		must(t, os.WriteFile(filepath.Join(cfg.StateDir, "current.key"), nil, 0o600))
		_, _ = fmt.Fprintln(os.Stdout, "at work in "+cfg.StateDir)
		select {}
	}
	for name, hasState := range map[string]bool{"the next one makes a directory, too": false, "the next one needs none": true} {
		t.Run(name, func(t *testing.T) {
			temporary, state := t.TempDir(), t.TempDir()
			t.Setenv("TMPDIR", temporary)
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestKilledCheckIsSwept$", "-test.v")
			cmd.Env = append(os.Environ(), atWork+"="+state)
			out, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "at work in ") {
					break
				}
			}
			if left := soak.Left(t, temporary); len(left) == 0 {
				t.Fatal("a check that is at work has no temporary directory")
			}
			_, done, err := withoutState(config.Config{StateDir: state})
			must(t, err)
			must(t, done())
			if left := soak.Left(t, temporary); len(left) == 0 {
				t.Fatal("the directory of a check that is at work was removed")
			}
			must(t, cmd.Process.Kill())
			_ = cmd.Wait() // it was killed
			if hasState {
				must(t, os.Mkdir(filepath.Join(state, "tls"), 0o700))
			}
			_, done, err = withoutState(config.Config{StateDir: state})
			must(t, err)
			must(t, done())
			if left := soak.Left(t, temporary); len(left) > 0 {
				t.Errorf("a killed check left %v", left)
			}
		})
	}
}
