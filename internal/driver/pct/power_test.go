package pct_test

import (
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
)

// The HA manager shuts a guest down after the command has ended: the grace is
// the guest's all the same.
func TestShutdownByHAHasItsGrace(t *testing.T) {
	for name, grace := range map[string]time.Duration{"long": time.Minute, "short": 50 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			n, _ := newDriver(t)
			o := options(n)
			o.HA = time.Millisecond
			d := open(t, o)
			n.SetConfig(vmid, guestConfig)
			if err := d.Start(t.Context(), vmid); err != nil {
				t.Fatal(err)
			}
			polls := 30 // rounds, each of which takes some milliseconds at least
			if name == "short" {
				polls = 1 << 30
			}
			n.SetFaults(pcttest.Faults{HA: []int{vmid}, HAPolls: polls})
			err := d.Shutdown(t.Context(), vmid, grace)
			if long := name == "long"; long != (err == nil) {
				t.Errorf("error %v", err)
			}
		})
	}
}
