package pct_test

import (
	"testing"

	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
)

// cloningTypes are the storages that make linked clones.
var cloningTypes = []string{"lvmthin", "zfspool", "rbd", "btrfs"}

func TestClonerConforms(t *testing.T) {
	for _, kind := range cloningTypes {
		t.Run(kind, func(t *testing.T) {
			drivertest.RunCloner(t, func(t *testing.T) drivertest.ClonerBed {
				n, d := newDriver(t)
				n.SetStorage("fast", pcttest.Storage{Type: kind, Content: "rootdir,images", Avail: 1 << 40})
				dirStorage(t, n)
				vmid := 8200
				return drivertest.ClonerBed{
					HypervisorBed: drivertest.HypervisorBed{
						Hypervisor: d, Archive: n.Dir("local/dump/" + golden), Storage: "fast", Bridge: "vmbr0",
						VMID: func() int { vmid++; return vmid },
						Sees: func(_ *testing.T, vmid int, path string) bool { return n.Sees(vmid, path) },
					},
					Cloner: d, NoCloning: "data",
				}
			})
		})
	}
}
