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

	"github.com/felhom/felhom-golden/agentd/internal/guests"
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
	dir := t.TempDir()
	store, err := guests.Open(filepath.Join(dir, "guests"), dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }() // nothing is written after the reports
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
	dir := t.TempDir()
	store, err := guests.Open(filepath.Join(dir, "guests"), dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }() // nothing is written after the record
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
