package overview_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/guests/gueststest"
	"github.com/felhom/felhom-golden/agentd/internal/overview"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
)

// openStore returns a store with these guests, each made from the archive that it
// is named with.
func openStore(t *testing.T, made map[int]guests.Provisioned) (store *guests.Store, dir string) {
	t.Helper()
	store, dir = gueststest.Open(t)
	for vmid, p := range made {
		if _, err := store.Mint(t.Context(), vmid, 100000, time.Hour); err != nil {
			t.Fatal(err)
		}
		if err := store.Update(t.Context(), vmid, func(g *guests.Record) error { g.Provisioned = &p; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return store, dir
}

// TestAgesOfGoldenImages: guests of an older image than the host's say so, also
// those that were made before images were recorded.
func TestAgesOfGoldenImages(t *testing.T) {
	archives := t.TempDir()
	archive := func(name string) string {
		path := filepath.Join(archives, name)
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	idOf := func(path string) *goldenid.ID {
		id, err := goldenid.Of(path)
		if err != nil {
			t.Fatal(err)
		}
		return &id
	}
	january, march := archive("vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst"), archive("vzdump-lxc-9100-2026_03_04-05_06_07.tar.zst")
	store, dir := openStore(t, map[int]guests.Provisioned{
		8200: {Golden: january, Image: idOf(january)},
		8201: {Golden: march, Image: idOf(march)},
		8202: {Golden: january}, // by an older version
		8203: {Golden: "/dump/current.tar.zst"},
		8204: {Golden: "local:backup/vzdump-lxc-9200-2026_01_02-03_04_05.tar.zst"},
	})
	s := overview.Source{Store: store, StateDir: dir, Golden: goldenid.NewHost(march)}
	rows, _, err := s.Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]goldenid.Age{8200: goldenid.Older, 8201: goldenid.Same, 8202: goldenid.Older, 8203: goldenid.Unknown, 8204: goldenid.Other}
	for _, r := range rows {
		if r.GoldenAge != want[r.Guest] {
			t.Errorf("guest %d: %q, want %q", r.Guest, r.GoldenAge, want[r.Guest])
		}
		text := "its golden image is of 2026-01-02, this host's of 2026-03-04"
		if strings.Contains(r.Text(), text) != (r.GoldenAge == goldenid.Older) {
			t.Errorf("guest %d: %q", r.Guest, r.Text())
		}
	}
	one, err := s.Row(t.Context(), 8200)
	if err != nil || one.GoldenAge != goldenid.Older {
		t.Errorf("one row: %q, %v", one.GoldenAge, err)
	}
	s.Golden = goldenid.NewHost("")
	if one, err := s.Row(t.Context(), 8200); err != nil || one.GoldenAge != goldenid.Unknown || one.GoldenMade.IsZero() {
		t.Errorf("without an image of the host: %+v, %v", one, err)
	}
}

// TestGuestsOfOtherNodes: with a store that nodes share, what another node has is
// not gone, and what it reported here before it moved is not its state.
func TestGuestsOfOtherNodes(t *testing.T) {
	store, dir := openStore(t, map[int]guests.Provisioned{8200: {}, 8201: {}, 8202: {}})
	for vmid := 8200; vmid <= 8201; vmid++ {
		if _, err := store.AddReport(t.Context(), vmid, report(1, contract.StepReady, contract.StateDone, "ready: http://192.0.2.7:9001/")); err != nil {
			t.Fatal(err)
		}
	}
	for vmid := 8201; vmid <= 8202; vmid++ { // the mount of 8201 is on its node
		if _, err := store.End(t.Context(), vmid); err != nil {
			t.Fatal(err)
		}
	}
	hv := drivertest.NewFakeHypervisor("vmbr0")
	hv.Put(driver.Guest{VMID: 8200, State: driver.Running})
	s := overview.Source{Store: store, StateDir: dir, Hypervisor: hv, Elsewhere: func(vmid int) string {
		if vmid == 8202 {
			return ""
		}
		return "pve2" // of 8200 too, as while it moves
	}, MountFault: func(int) error { return errors.New("no config mount on this host") }}
	rows, _, err := s.Rows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, strings.TrimSpace(fmt.Sprintln(r.Guest, r.State, r.Node, r.Controller, len(r.URLs))))
	}
	if want := "8200 running  starting 1; 8201 elsewhere pve2  0; 8202 gone  stopped 0"; strings.Join(got, "; ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), want)
	}
	if text := rows[2].Text(); !strings.HasPrefix(text, "its config mount is damaged (no config mount on this host), and its tokens have ended") {
		t.Errorf("text %q", text)
	}
	if text := rows[1].Text(); text != "the guest is on node pve2 of the cluster, where it reports" {
		t.Errorf("text %q", text)
	}
}

// TestWhatAGuestDoesAfterAFailure: an hour of a slow pull after a failure does not
// look like the failure alone.
func TestWhatAGuestDoesAfterAFailure(t *testing.T) {
	store, dir := openStore(t, map[int]guests.Provisioned{8200: {}})
	for i, r := range []contract.Report{
		report(1, contract.StepImage, contract.StateFailed, "no registry"),
		report(2, contract.StepImage, contract.StateStarted, "pulling a:1: 1.0 MiB of 8.0 MiB, 64.0 KiB/s, 1m52s left"),
	} {
		if _, err := store.AddReport(t.Context(), 8200, r); err != nil {
			t.Fatal(i, err)
		}
	}
	row, err := overview.Source{Store: store, StateDir: dir}.Row(t.Context(), 8200)
	if want := "image: no registry (hint: start it); now image: pulling a:1: 1.0 MiB of 8.0 MiB, 64.0 KiB/s, 1m52s left"; err != nil || row.Text() != want || row.Controller != overview.Failed {
		t.Errorf("%q, %v, want %q", row.Text(), err, want)
	}
}
