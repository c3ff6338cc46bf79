package drivertest_test

import (
	"testing"

	"github.com/felhom/felhom-golden/internal/driver/drivertest"
)

func TestFakeClonerConforms(t *testing.T) {
	drivertest.RunCloner(t, func(*testing.T) drivertest.ClonerBed {
		fake, vmid := fakeHypervisor(), 8200
		fake.SetCloning("fast")
		return drivertest.ClonerBed{
			HypervisorBed: drivertest.HypervisorBed{
				Hypervisor: fake, Archive: "/a.tar.zst", Bridge: "vmbr0", Storage: "fast",
				VMID:        func() int { vmid++; return vmid },
				MakePartial: func(_ *testing.T, vmid int) { fake.MakePartial(vmid) },
			},
			Cloner: fake, NoCloning: "slow",
		}
	})
}
