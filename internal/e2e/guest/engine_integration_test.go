//go:build integration

package guest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// TestFailedEngineIsNamed starts a guest whose daemon.json dockerd refuses. Its
// bootstrap must end in seconds with dockerd's own words.
func TestFailedEngineIsNamed(t *testing.T) {
	s := theStack(t)
	vmid := testbed.VMIDs(t, 1)[0]
	s.removeAfter(t, vmid)
	s.agentd(t, "provision", "--vmid", strconv.Itoa(vmid), "--hostname", "felhom-engine", "--golden", s.archive, "--ip", s.address(t, 211).String(), "--no-start")
	g := s.guest(vmid)
	const word = "no-such-driver"
	file := filepath.Join(g.Rootfs(), "etc/docker/daemon.json")
	if err := os.WriteFile(file, []byte(`{"storage-driver": "`+word+`"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	s.start(t, vmid)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var took float64
	if err := guest.Poll(ctx, func() error {
		out, err := g.Ask(ctx, "cat", "/var/lib/felhom/bootstrap-result.json")
		if err != nil {
			return err
		}
		var result struct {
			Message, Hint string
			Steps         []struct {
				Step       string
				DurationMS float64 `json:"duration_ms"`
			}
		}
		if err := json.Unmarshal([]byte(out), &result); err != nil {
			return err
		}
		if !strings.Contains(result.Message, word) || !strings.Contains(result.Message, "docker.service has failed (") || !strings.Contains(result.Message, "exited with 1") || result.Hint == "" {
			return fmt.Errorf("the bootstrap says %q, hint %q, want dockerd's own words", result.Message, result.Hint)
		}
		for _, step := range result.Steps {
			if step.Step == "engine" {
				took = step.DurationMS
			}
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, journal(g))
	}
	// systemd starts dockerd three times, with pauses.
	if took > 45_000 {
		t.Errorf("the engine step took %.0f ms, want seconds and not its whole limit of 90 s", took)
	}
	t.Logf("the engine step took %.0f ms", took)
}
