package main

import (
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/overview"
)

func TestShowNamesARevocation(t *testing.T) {
	text := shown{Row: overview.Row{Guest: 8200, Revoked: true}}.text(time.Now())
	if !strings.Contains(text, "revoked") || strings.Contains(text, "not used yet") {
		t.Errorf("%s", text)
	}
}

func TestShowHasWhatTheListSays(t *testing.T) {
	row := overview.Row{
		Guest: 8200, Running: "app:1", Now: "image: pulling", Detached: "snapshot", Node: "pve2", Rollout: &overview.Rollout{Image: "app:2\x1b", State: "failed"},
	}
	text := shown{Row: row}.text(time.Now())
	for _, want := range []string{"still runs   app:1\n", "now          image: pulling\n", "detached     snapshot\n", "node         pve2\n", "rollout      failed: app:2\\x1b\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
}
