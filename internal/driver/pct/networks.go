package pct

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Warnings implements [driver.Hypervisor]. PVE sets the limits of the kernel
// that its guests need.
func (d *Driver) Warnings(context.Context, driver.Spec) ([]string, error) { return nil, nil }

// Networks implements [driver.Hypervisor]: of the containers of all nodes of
// the cluster, which usually share their networks.
func (d *Driver) Networks(ctx context.Context) (map[int]driver.Net, error) {
	nets := map[int]driver.Net{}
	err := d.eachConfig(ctx, func(vmid int, data []byte, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it may have been removed meanwhile
		}
		config, _ := pctconf.Parse(data)
		if n := netOf(config); n.Bridge != "" && !on(config, "template") { // which never runs
			nets[vmid] = n
		}
		return nil
	}, anyNode, thisNode)
	if err != nil {
		return nil, fmt.Errorf("networks: %w", err)
	}
	return nets, nil
}

// Interfaces implements [driver.Hypervisor], from the file of this node alone.
// A port's name depends on the interface's firewall flag when the guest was
// started, and on which firewall the node runs: both names are the guest's.
func (d *Driver) Interfaces(_ context.Context, vmid int) ([]driver.Interface, error) {
	dir := filepath.Join(d.o.PVEDir, "lxc")
	data, err := regular.Read(filepath.Join(dir, strconv.Itoa(vmid)+".conf"), maxGuestConfig)
	if errors.Is(err, fs.ErrNotExist) {
		err = driver.ErrNotFound
		if _, missing := os.Stat(dir); missing != nil { // while pmxcfs starts again
			err = fault.WrapHint(fault.NotReady, fmt.Errorf("the cluster's file system is not mounted at %s: %w", d.o.PVEDir, missing), "systemctl status pve-cluster")
		}
	}
	if err != nil {
		return nil, wrap(vmid, "interfaces", err)
	}
	config, _ := pctconf.Parse(data)
	all, _ := driver.InterfacesOf(config, func(number int) []string { // PVE keeps a wrong line, which has no effect
		return []string{driver.PortName(vmid, number), fmt.Sprintf("fwpr%dp%d", vmid, number)}
	})
	return all, nil
}
