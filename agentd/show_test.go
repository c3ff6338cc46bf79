package main

import (
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/contract"
)

// A guest that reports uses its token, so that the line must not call it unused:
// what is not known is whether the controller has it.
func TestShowSaysWhoUsedTheToken(t *testing.T) {
	used := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	reports := overview.Row{Guest: 8200, Controller: overview.Healthy, Step: "run", Since: used}
	seen, revoked := reports, reports
	seen.TokenSeen, revoked.TokenSeen, revoked.Revoked = &used, &used, true
	for want, s := range map[string]shown{
		"valid; the controller has not asked for /storage with it yet":              {Row: reports, Settings: &provision.Settings{Profile: contract.ProfileFelhom}},
		"valid; with the profile plain only the bootstrapper and the engine use it": {Row: reports, Settings: &provision.Settings{Profile: contract.ProfilePlain}},
		"first used by the controller 2026-03-04T05:06:07Z":                         {Row: seen},
		"revoked": {Row: revoked},
	} {
		if text := s.text(time.Now()); !strings.Contains(text, "\ntoken        "+want+"\n") {
			t.Errorf("want token %q in\n%s", want, text)
		}
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
