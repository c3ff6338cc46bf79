package driver_test

import (
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

func Example() {
	err := driver.Faultf(driver.ErrBusy, "wait for that task", "its restore is running")
	err = fmt.Errorf("guest %d: %w", 8200, err)
	fmt.Println(err)
	fmt.Println(errors.Is(err, driver.ErrBusy), fault.Of(err), "hint:", fault.HintOf(err))

	err = driver.CheckMount(driver.Mount{Source: "/srv/a,b", Target: "/mnt"})
	fmt.Println(errors.Is(err, driver.ErrRefused))

	for _, line := range driver.ConsoleLines([]byte("\x1b[32mOK\x1b[0m  boot\r\n\nlogin: \x07")) {
		fmt.Println(line)
	}
	// Output:
	// guest 8200: another task holds the guest: its restore is running
	// true busy hint: wait for that task
	// true
	// OK boot
	// login: \a
}
