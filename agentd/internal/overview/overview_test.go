package overview_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests/gueststest"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/pctconf"
)

func report(sequence uint64, step contract.Step, state contract.State, message string) contract.Report {
	r := contract.Report{Run: "a", Sequence: sequence, Step: step, State: state, Message: message}
	if state == contract.StateFailed {
		r.Class, r.Hint = "not-ready", "start it"
	}
	return r
}

// Each guest is one row: what the hypervisor says of it and what it reported.
func TestRows(t *testing.T) {
	store, dir := gueststest.Open(t)
	hv := drivertest.NewFakeHypervisor("vmbr0")
	fixed := driver.Net{Bridge: "vmbr0", IP: pctconf.Fixed(netip.MustParsePrefix("192.0.2.7/24"))}
	hv.Put(driver.Guest{VMID: 8200, State: driver.Running, Hostname: "web", Net: fixed})
	hv.Put(driver.Guest{VMID: 8201, State: driver.Running, Hostname: "db"})
	hv.Put(driver.Guest{VMID: 8202, State: driver.Running, Hostname: "evil"})
	hv.Put(driver.Guest{VMID: 8203, State: driver.Stopped, Hostname: "off"})
	hv.Put(driver.Guest{VMID: 8206, State: driver.Running, Hostname: "new"})
	hv.MakePartial(8205)
	for vmid, reports := range map[int][]contract.Report{
		8200: {report(1, contract.StepReady, contract.StateDone, "ready: http://192.0.2.7:9001/"), report(2, contract.StepRun, contract.StateDone, "")},
		8201: {report(1, contract.StepImage, contract.StateFailed, "no registry"), report(2, contract.StepImage, contract.StateStarted, "")},
		8202: {report(1, contract.StepReady, contract.StateDone, "http://evil.example/ \x1b[2J"), report(2, contract.StepImage, contract.StateStarted, "\x1b[2J\u202exyz\n8200  web")},
		8203: {report(1, contract.StepRun, contract.StateDone, "")},
		8204: {report(1, contract.StepRun, contract.StateDone, "")},
		8205: nil,
		8206: nil,
	} {
		if _, err := store.Mint(t.Context(), vmid, 100000, time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			if _, err := store.AddReport(t.Context(), vmid, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A provisioning that was interrupted before there was a record.
	if err := os.MkdirAll(filepath.Join(dir, "provision"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "provision/8207.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := overview.Source{Store: store, StateDir: dir, Image: "registry.example/team/app:1", Hypervisor: hv}
	rows, broken, err := s.Rows(t.Context())
	if err != nil || len(broken) > 0 {
		t.Fatal(err, broken)
	}
	want := []string{
		"8200 web running healthy  http://192.0.2.7:9001/ 192.0.2.7",
		"8201 db running failed not-ready  ",
		"8202 evil running starting   ",
		"8203 off stopped stopped   ",
		"8204  gone stopped   ",
		"8205  partial    ",
		"8206 new running    ",
		"8207  partial stopped   ",
	}
	want[7] = "8207  partial    "
	for i, r := range rows {
		got := fmt.Sprintln(r.Guest, r.Name, r.State, r.Controller, r.Class, strings.Join(r.URLs, ","), r.Address)
		if i >= len(want) || strings.TrimSpace(got) != strings.TrimSpace(want[i]) {
			t.Errorf("row %d: got %q, want %q", i, got, want[i])
		}
	}
	one, err := s.Row(t.Context(), 8201)
	if err != nil || one.Message != "no registry" || one.Hint != "start it" {
		t.Errorf("one row %+v, %v", one, err)
	}
	for _, width := range []int{0, 80} {
		var b bytes.Buffer
		if err := overview.Table(&b, rows, time.Now(), width); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) != 1+len(rows) || strings.ContainsAny(b.String(), "\x1b\u202e") {
			t.Errorf("table:\n%q", b.String())
		}
		for _, line := range lines {
			if width > 0 && len(line) > width {
				t.Errorf("%d columns: %q", len(line), line)
			}
		}
	}
}

func Example() {
	rows := []overview.Row{{Guest: 8200, Name: "web", State: "running", Image: "registry.example/team/app:1", Controller: overview.Healthy, URLs: []string{"http://192.0.2.7:9001/"}}}
	var b bytes.Buffer
	_ = overview.Table(&b, rows, time.Now(), 0)
	fmt.Print(b.String())
	// Output:
	// VMID  NAME  STATE    IMAGE  CONTROLLER  ADDRESS         SINCE  MESSAGE
	// 8200  web   running  app:1  healthy     192.0.2.7:9001  -      -
}

// A damaged file of reports does not hide what else is known of the guest.
func TestRowWithDamagedReports(t *testing.T) {
	store, dir := gueststest.Open(t)
	if _, err := store.Mint(t.Context(), 8200, 100000, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "reports/8200.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	row, err := overview.Source{Store: store, StateDir: dir, Image: "registry.example/app:v1"}.Row(t.Context(), 8200)
	if err != nil || row.Image != "registry.example/app:v1" || !strings.Contains(row.Message, "8200.json") || row.Hint == "" {
		t.Errorf("%+v, %v", row, err)
	}
}

// A guest whose change was rolled back says what it runs, whichever of its reports
// arrived last.
func TestGuestThatKeptTheControllerBefore(t *testing.T) {
	store, dir := gueststest.Open(t)
	const before = "registry.example/team/app:1"
	for vmid, reports := range map[int][]contract.Report{
		8200: {report(1, contract.StepReady, contract.StateFailed, "not ready after 2m0s"), report(2, contract.StepRun, contract.StateFailed, contract.StillRuns(before, "not ready after 2m0s"))},
		8201: {report(1, contract.StepRun, contract.StateFailed, contract.StillRuns(before, "no such file"))},
		8202: {report(1, contract.StepRun, contract.StateFailed, contract.StillRuns("\x1b[2J\u202e", "hostile"))},
		8203: {report(1, contract.StepRun, contract.StateFailed, "it never ran")},
		8204: {report(1, contract.StepReady, contract.StateFailed, "x"), report(2, contract.StepRun, contract.StateFailed, contract.StillRuns(before, "x")), report(3, contract.StepRun, contract.StateDone, "")},
	} {
		if _, err := store.Mint(t.Context(), vmid, 100000, time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, r := range reports {
			if _, err := store.AddReport(t.Context(), vmid, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	rows, _, err := overview.Source{Store: store, StateDir: dir, Image: "registry.example/team/app:2"}.Rows(t.Context())
	if err != nil || len(rows) != 5 {
		t.Fatal(rows, err)
	}
	for i, want := range []struct{ running, text string }{
		{before, "still runs " + before + ": ready: not ready after 2m0s (hint: start it)"},
		{before, "still runs " + before + ": no such file (hint: start it)"},
		{"", "still runs \x1b[2J\u202e: hostile (hint: start it)"}, // made harmless where it is printed
		{"", "it never ran (hint: start it)"},
		{"", ""},
	} {
		if got := rows[i]; got.Running != want.running || got.Text() != want.text {
			t.Errorf("guest %d: running %q, %q; want %q, %q", got.Guest, got.Running, got.Text(), want.running, want.text)
		}
	}
}

// An unfinished rollout is in the rows of its guests, and in a line of its own.
func TestUnfinishedRollout(t *testing.T) {
	store, dir := gueststest.Open(t)
	for _, vmid := range []int{8200, 8201, 8202, 8299} {
		if _, err := store.Mint(t.Context(), vmid, 100000, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	s := overview.Source{Store: store, StateDir: dir}
	if r, err := s.Rollout(); r != nil || err != nil {
		t.Fatalf("without a journal: %+v, %v", r, err)
	}
	journal := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "rollout.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	journal(`{"version": 1, "plan": {"image": "registry.example/team/app:2\u001b[2J", "wave": 2}, "guests": [
		{"guest": 8200, "state": "healthy"}, {"guest": 8201, "state": "failed", "message": "x"}, {"guest": 8202, "state": "started"}, {"guest": 8203, "state": "pending"}, {"guest": 8204, "state": "pending"}]}`)
	rows, _, err := s.Rows(t.Context())
	if err != nil || len(rows) != 4 {
		t.Fatal(rows, err)
	}
	r, err := s.Rollout()
	if err != nil || r == nil {
		t.Fatal(r, err)
	}
	r.Join(rows)
	var got []string
	for _, r := range rows {
		if r.Rollout == nil {
			got = append(got, "none")
			continue
		}
		got = append(got, fmt.Sprintf("%s %d/%d %d %d %d", r.Rollout.State, r.Rollout.Wave, r.Rollout.Waves, r.Rollout.Done, r.Rollout.Failed, r.Rollout.Left))
	}
	if want := "healthy 2/3 1 1 3, failed 2/3 1 1 3, started 2/3 1 1 3, none"; strings.Join(got, ", ") != want {
		t.Errorf("rows %q, want %q", got, want)
	}
	if one, err := s.Row(t.Context(), 8201); err != nil || one.Rollout == nil || one.Rollout.State != "failed" || one.Rollout.Left != 3 {
		t.Errorf("the row of one guest: %+v, %v", one.Rollout, err)
	}
	if want := `rollout of registry.example/team/app:2\x1b[2J: wave 2 of 3, 1 done, 1 failed, 3 left; it has stopped: felhom-agentd guest rollout --resume`; !strings.HasPrefix(r.Text(), want) {
		t.Errorf("text %q, want %q", r.Text(), want)
	}
	journal("{")
	if r, err := s.Rollout(); err == nil {
		t.Errorf("a damaged journal: %+v", r)
	}
	if one, err := s.Row(t.Context(), 8201); err != nil || one.Guest != 8201 {
		t.Errorf("it hides a guest: %+v, %v", one, err)
	}
}
