package lxc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/internal/driver"
)

// Networks implements [driver.Hypervisor].
func (d *Driver) Networks(ctx context.Context) (map[int]driver.Net, error) {
	nets := map[int]driver.Net{}
	list, err := os.ReadDir(d.o.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range list {
		if err := context.Cause(ctx); err != nil {
			return nil, fmt.Errorf("networks: %w", err)
		}
		vmid, err := strconv.Atoi(e.Name())
		if err != nil || !e.IsDir() {
			continue
		}
		c, err := d.readConf(vmid)
		if err != nil {
			continue // a fault of that guest only, which may be in removal
		}
		if n, there, err := c.Net(0); there && err == nil {
			nets[vmid] = n
		}
	}
	return nets, nil
}

// Interfaces implements [driver.Hypervisor]. A guest of liblxc has one.
func (d *Driver) Interfaces(_ context.Context, vmid int) ([]driver.Interface, error) {
	c, err := d.readConf(vmid)
	if err != nil {
		return nil, err
	}
	n, err := netOf(c)
	if err != nil || n.Bridge == "" {
		return nil, err
	}
	return []driver.Interface{{Net: n, Ports: []string{driver.PortName(vmid, 0)}}}, nil
}

// Linux counts inotify instances by user, and all guests of one id range have
// the same root: a guest with Docker needs instancesPerGuest, and if none are
// left, systemd in the next guest fails with "Too many open files".
const (
	instancesPerGuest = 10
	inotifyLimit      = "/proc/sys/fs/inotify/max_user_instances"
)

// Warnings implements [driver.Hypervisor].
func (d *Driver) Warnings(ctx context.Context, _ driver.Spec) ([]string, error) {
	data, err := os.ReadFile(d.o.InotifyFile)
	if err != nil {
		return nil, nil //nolint:nilerr // a kernel without that limit
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.o.InotifyFile, err)
	}
	guests, sharing := 1, "each guest has an id range of its own"
	if !d.o.PerGuest {
		nets, err := filepath.Glob(filepath.Join(d.o.Path, "[0-9]*", confFile))
		if err != nil {
			return nil, err
		}
		guests, sharing = guests+len(nets), "all guests of one id range share them"
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("warnings: %w", err)
	}
	if want := guests * instancesPerGuest; limit < want {
		return []string{fmt.Sprintf("warning: fs.inotify.max_user_instances is %d, and %d guests need %d (%d each; %s): a guest may end with \"Too many open files\"; "+
			"hint: sysctl -w fs.inotify.max_user_instances=%d, and the same line in /etc/sysctl.d",
			limit, guests, want, instancesPerGuest, sharing, max(1024, 2*want))}, nil
	}
	return nil, nil
}
