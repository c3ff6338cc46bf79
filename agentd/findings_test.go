package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

func TestFindingsNameTheGuestOnce(t *testing.T) {
	for about, want := range map[string]string{
		"guest 8200":                "guest 8200: look: not ready",
		"guests.yaml:3: guest 8200": "guests.yaml:3: guest 8200: look: not ready",
		"guests.yaml:3: guest 820":  "guests.yaml:3: guest 820: guest 8200: look: not ready",
		"":                          "guest 8200: look: not ready",
	} {
		var f findings
		f.add(about, errors.New("guest 8200: look: not ready"))
		if len(f) != 1 || f[0].Error() != want {
			t.Errorf("%q: got %v, want %s", about, f, want)
		}
	}
	var f findings
	f.add("guests.yaml:3: guest 8200", errors.New("ip: no route"))
	if want := "guests.yaml:3: guest 8200: ip: no route"; f[0].Error() != want {
		t.Errorf("got %v, want %s", f, want)
	}
}

// What the hypervisor lacks is a fault of the host, whichever guest it was asked for: it is
// named once, without a guest.
func TestFindingsOfTheHostAreNamedOnce(t *testing.T) {
	for name, cause := range map[string]error{
		"final":    driver.Faultf(driver.ErrWrongHost, "choose another", "%s is not installed", "pvesh"),
		"may pass": driver.Faultf(driver.ErrNotReady, "choose another", "%s is not installed", "pvesh"),
		"wrapped":  fault.WrapHint(fault.NotReady, fmt.Errorf("pvesh: %w", driver.Faultf(driver.ErrNotReady, "", "not here")), "choose another"),
	} {
		var f findings
		for vmid := range 3 {
			looked := fmt.Errorf("guest %d: look: %w", 8200+vmid, cause)
			f.add(fmt.Sprintf("guests.yaml:%d: guest %d", 3+vmid, 8200+vmid), errors.Join(looked, errors.New("ip: no route")))
		}
		got := fault.All(f...)
		want := driver.ErrNotReady.Error() + ": pvesh is not installed"
		if name == "wrapped" {
			want = driver.ErrNotReady.Error() + ": not here"
		}
		want += `
hint: choose another
guests.yaml:3: guest 8200: ip: no route
guests.yaml:4: guest 8201: ip: no route
guests.yaml:5: guest 8202: ip: no route`
		if got.Error() != want || fault.Of(f[0]) != fault.Of(cause) {
			t.Errorf("%s: got %q of kind %v, want %q of kind %v", name, got, fault.Of(f[0]), want, fault.Of(cause))
		}
	}
}
