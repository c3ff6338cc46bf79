package drivertest

import (
	"context"

	"github.com/felhom/felhom-golden/internal/driver"
)

// Networks implements [driver.Hypervisor].
func (f *FakeHypervisor) Networks(context.Context) (map[int]driver.Net, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	nets := map[int]driver.Net{}
	for vmid, g := range f.guests {
		if !g.Partial && f.templates[vmid] == nil {
			nets[vmid] = g.Net
		}
	}
	return nets, nil
}

// Interfaces implements [driver.Hypervisor].
func (f *FakeHypervisor) Interfaces(_ context.Context, vmid int) ([]driver.Interface, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.guests[vmid]
	if g == nil {
		return nil, driver.NoGuest(vmid)
	}
	return []driver.Interface{{Net: g.Net, Ports: []string{driver.PortName(vmid, 0)}}}, nil
}
