package drivertest_test

import (
	"errors"
	"testing"

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
