package statuspage_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests/gueststest"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/agentd/internal/statuspage"
	"github.com/felhom/felhom-golden/internal/contract"
)

// Where only the guest says what its address is (DHCP, or a host without a
// configured hypervisor), the page shows that as text: it may name any machine.
func TestReportedAddressIsText(t *testing.T) {
	store, dir := gueststest.Open(t)
	if _, err := store.Mint(t.Context(), 8200, 100000, time.Hour); err != nil {
		t.Fatal(err)
	}
	report := contract.Report{Run: "a", Sequence: 1, Step: contract.StepReady, State: contract.StateDone, Message: "answers at http://192.0.2.99:80/"}
	if _, err := store.AddReport(t.Context(), 8200, report); err != nil {
		t.Fatal(err)
	}
	source := overview.Source{Store: store, StateDir: dir}
	h := statuspage.New(statuspage.Options{Rows: source.Rows, Row: source.Row, Progress: store.Progress, Now: time.Now})
	for _, path := range []string{"/status", "/status/guests/8200"} {
		body := get(t, h, path, "localhost").Body.String()
		if !strings.Contains(body, "192.0.2.99:80") || strings.Contains(body, `href="http://192.0.2.99`) {
			t.Errorf("%s: want the reported address as text alone, got\n%s", path, body)
		}
	}
}

// The list of guests names the part of each in a rollout that has not ended.
func TestRowsNameTheirPartOfARollout(t *testing.T) {
	store, dir := gueststest.Open(t)
	if _, err := store.Mint(t.Context(), 8200, 100000, time.Hour); err != nil {
		t.Fatal(err)
	}
	const journal = `{"version": 1, "plan": {"image": "registry.example/app:2", "wave": 1}, "guests": [{"guest": 8200, "state": "failed", "message": "x"}]}`
	if err := os.WriteFile(filepath.Join(dir, "rollout.json"), []byte(journal), 0o600); err != nil {
		t.Fatal(err)
	}
	source := overview.Source{Store: store, StateDir: dir}
	h := statuspage.New(statuspage.Options{Rows: source.Rows, Row: source.Row, Rollout: source.Rollout, Progress: store.Progress, Now: time.Now})
	for path, want := range map[string]string{"/status": "rollout: failed", "/status/guests/8200": "failed: registry.example/app:2"} {
		if body := get(t, h, path, "localhost").Body.String(); !strings.Contains(body, want) {
			t.Errorf("%s: want %q in\n%s", path, want, body)
		}
	}
}
