//go:build pve

package pct_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/driver/pct"
)

// makePartial leaves what a killed restore leaves, but for its mount.
func makePartial(t *testing.T, storage string, vmid int) {
	t.Helper()
	id := strconv.Itoa(vmid)
	if err := os.WriteFile(filepath.Join("/etc/pve/lxc", id+".conf"), []byte("lock: create\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "pvesm", "alloc", storage, id, "", "65536").CombinedOutput(); err != nil { //nolint:gosec // on a node for tests
		t.Fatalf("%v: %s", err, out)
	}
}

// TestConformsOnPVE runs the suite on a real node, which it changes: it makes
// and destroys guests from FELHOM_PVE_VMID on. On the node, as root:
//
//	FELHOM_PVE_ARCHIVE=/var/lib/vz/dump/vzdump-lxc-….tar.zst FELHOM_PVE_STORAGE=local-lvm \
//	FELHOM_PVE_BRIDGE=vmbr0 FELHOM_PVE_VMID=98200 pct.test -test.run OnPVE
//
// where pct.test is made by "go test -c -tags pve ./internal/driver/pct". If
// FELHOM_PVE_STORAGE makes linked clones, TestClonesOnPVE looks at them too, with
// FELHOM_PVE_DIR_STORAGE as one that makes none, if it is set.
func TestConformsOnPVE(t *testing.T) {
	env := func(name string) string {
		value := os.Getenv("FELHOM_PVE_" + name)
		if value == "" {
			t.Fatalf("FELHOM_PVE_%s is not set", name)
		}
		return value
	}
	golden, first := env("ARCHIVE"), env("VMID")
	vmid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	var last atomic.Int64
	last.Store(int64(vmid))
	d, err := pct.New(pct.Options{})
	if err != nil {
		t.Fatal(err)
	}
	drivertest.RunHypervisor(t, func(t *testing.T) drivertest.HypervisorBed {
		dir, err := os.MkdirTemp("/var/tmp", "felhom-pve-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		data, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		short := filepath.Join(dir, "vzdump-lxc-9100-short.tar.zst")
		if err := os.WriteFile(short, data[:len(data)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		return drivertest.HypervisorBed{
			Hypervisor: d, Archive: golden, Truncated: short, NoConfig: bareAt(t, filepath.Join(dir, "vzdump-lxc-9100-bare.tar")),
			Storage: env("STORAGE"), Bridge: env("BRIDGE"), Root: driver.IDs{UID: 100000, GID: 100000},
			VMID:        func() int { return int(last.Add(1)) },
			MakePartial: func(t *testing.T, vmid int) { makePartial(t, env("STORAGE"), vmid) },
		}
	})
}

// TestClonesOnPVE runs the suite of linked clones on a real node.
func TestClonesOnPVE(t *testing.T) {
	first, err := strconv.Atoi(os.Getenv("FELHOM_PVE_VMID"))
	if err != nil {
		t.Fatalf("FELHOM_PVE_VMID: %v", err)
	}
	var last atomic.Int64
	last.Store(int64(first) + 100) // beside those of TestConformsOnPVE
	d, err := pct.New(pct.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := driver.Spec{Archive: os.Getenv("FELHOM_PVE_ARCHIVE"), Storage: os.Getenv("FELHOM_PVE_STORAGE"), Net: driver.Net{Bridge: os.Getenv("FELHOM_PVE_BRIDGE")}}
	if err := d.CanClone(t.Context(), s); errors.Is(err, driver.ErrNoClone) {
		t.Skipf("FELHOM_PVE_STORAGE: %v", err)
	}
	drivertest.RunCloner(t, func(*testing.T) drivertest.ClonerBed {
		return drivertest.ClonerBed{
			HypervisorBed: drivertest.HypervisorBed{
				Hypervisor: d, Archive: s.Archive, Storage: s.Storage, Bridge: s.Net.Bridge, Root: driver.IDs{UID: 100000, GID: 100000},
				VMID:        func() int { return int(last.Add(1)) },
				MakePartial: func(t *testing.T, vmid int) { makePartial(t, s.Storage, vmid) },
			},
			Cloner: d, NoCloning: os.Getenv("FELHOM_PVE_DIR_STORAGE"),
		}
	})
}
