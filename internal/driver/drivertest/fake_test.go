package drivertest_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
)

func TestFakeConforms(t *testing.T) {
	drivertest.RunStorage(t, func(*testing.T) drivertest.Bed {
		fake := &drivertest.Fake{}
		return drivertest.Bed{Storage: fake, AddGuest: func(_ *testing.T, vmid int, mounts ...string) {
			usage := []driver.Usage{{Path: "/", Size: 10, Used: 3, Available: 6}}
			for _, m := range mounts {
				usage = append(usage, driver.Usage{Path: m, Size: 10, Used: 3, Available: 6})
			}
			fake.Set(vmid, usage...)
		}}
	})
}

func TestFakeBreaks(t *testing.T) {
	var fake drivertest.Fake
	fake.Set(8200, driver.Usage{Path: "/", Size: 1})
	broken := errors.New("pool is gone")
	fake.Break(broken)
	if _, err := fake.Storage(t.Context(), 8200); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	fake.Break(nil)
	if _, err := fake.Storage(t.Context(), 8200); err != nil {
		t.Errorf("healed fake: %v", err)
	}
}

const fakeConfig = "arch: amd64\nfeatures: nesting=1\nhostname: golden\nmemory: 512\nnet0: name=eth0,bridge=vmbr0,ip=dhcp\nostype: debian\nrootfs: local:0,size=4G\nunprivileged: 1\n"

func fakeHypervisor() *drivertest.FakeHypervisor {
	fake := drivertest.NewFakeHypervisor("vmbr0")
	fake.AddArchive("/a.tar.zst", drivertest.FakeArchive{Config: []byte(fakeConfig)})
	fake.AddArchive("/short.tar.zst", drivertest.FakeArchive{Config: []byte(fakeConfig), Truncated: true})
	fake.AddArchive("/empty.tar.zst", drivertest.FakeArchive{})
	return fake
}

func TestFakeHypervisorConforms(t *testing.T) {
	drivertest.RunHypervisor(t, func(*testing.T) drivertest.HypervisorBed {
		fake, vmid := fakeHypervisor(), 8200
		return drivertest.HypervisorBed{
			Hypervisor: fake, Archive: "/a.tar.zst", Truncated: "/short.tar.zst", NoConfig: "/empty.tar.zst", Bridge: "vmbr0",
			VMID:        func() int { vmid++; return vmid },
			MakePartial: func(_ *testing.T, vmid int) { fake.MakePartial(vmid) },
		}
	})
}

func TestFakeHypervisorFails(t *testing.T) {
	fake, broken := fakeHypervisor(), errors.New("pool is gone")
	fake.Fail("Restore", broken)
	spec := driver.Spec{Archive: "/a.tar.zst"}
	if err := fake.Restore(t.Context(), 8200, spec, nil); !errors.Is(err, broken) || len(fake.VMIDs()) > 0 {
		t.Errorf("error %v and guests %v, want %v and none", err, fake.VMIDs(), broken)
	}
	fake.Fail("Restore", nil)
	if err := fake.Restore(t.Context(), 8200, spec, nil); err != nil {
		t.Errorf("healed fake: %v", err)
	}
	if d := cmp.Diff([]string{"Restore 8200", "Restore 8200"}, fake.Calls()); d != "" {
		t.Error(d)
	}
}

func TestFakeHypervisorIsKilled(t *testing.T) {
	for _, method := range []string{"Restore", "Destroy"} {
		t.Run(method, func(t *testing.T) {
			fake, killed := fakeHypervisor(), 0
			if method == "Destroy" {
				fake.Put(driver.Guest{VMID: 8200, State: driver.Stopped})
			}
			fake.Kill(method, func() { killed++ })
			var err error
			if method == "Restore" {
				err = fake.Restore(t.Context(), 8200, driver.Spec{Archive: "/a.tar.zst"}, nil)
			} else {
				err = fake.Destroy(t.Context(), 8200)
			}
			if !errors.Is(err, drivertest.ErrKilled) || killed != 1 {
				t.Errorf("error %v after %d kills, want ErrKilled after one", err, killed)
			}
			if g, err := fake.Guest(t.Context(), 8200); err != nil || !g.Partial {
				t.Errorf("left %+v, %v, want a partial guest", g, err)
			}
			if err := fake.Discard(t.Context(), 8200, ""); err != nil || killed != 1 {
				t.Errorf("discard: %v", err)
			}
		})
	}
}
