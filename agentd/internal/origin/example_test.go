package origin_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/internal/driver"
)

func ExampleOpen() {
	checker, err := origin.Open(func(context.Context, int) ([]driver.Interface, error) {
		return nil, nil // in the daemon: Hypervisor.Interfaces
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = checker.Close() }()
	err = checker.Check(context.Background(), netip.MustParseAddr("127.0.0.1"), 8200)
	if m, ok := errors.AsType[*origin.Mismatch](err); ok {
		fmt.Println(m.Reason)
	}
	// Output: host
}
