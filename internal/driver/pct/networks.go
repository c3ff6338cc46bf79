package pct

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Warnings implements [driver.Hypervisor]. PVE sets the limits of the kernel
// that its guests need.
func (d *Driver) Warnings(context.Context, driver.Spec) ([]string, error) { return nil, nil }

// Networks implements [driver.Hypervisor]: of the containers of all nodes of
// the cluster, which share their networks more often than not.
func (d *Driver) Networks(ctx context.Context) (map[int]driver.Net, error) {
	nets := map[int]driver.Net{}
	for _, pattern := range []string{"nodes/*/lxc/*.conf", "lxc/*.conf"} {
		files, err := filepath.Glob(filepath.Join(d.o.PVEDir, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			if err := context.Cause(ctx); err != nil {
				return nil, fmt.Errorf("networks: %w", err)
			}
			vmid, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(file), ".conf"))
			if err != nil {
				continue
			}
			data, err := regular.Read(file, maxGuestConfig)
			if err != nil {
				continue // it may have been removed meanwhile
			}
			config, _ := pctconf.Parse(data)
			if n := netOf(config); n.Bridge != "" {
				nets[vmid] = n
			}
		}
	}
	return nets, nil
}
