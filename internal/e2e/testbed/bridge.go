package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/felhom/felhom-golden/internal/driver/run"
)

// bridgeMAC is the bridge's own. One without takes the lowest of its ports: when the
// guest of that port stops, the others keep sending to it, for up to a minute.
const bridgeMAC = "02:00:00:00:00:01"

// addBridge makes a bridge that has the first address of network. It has no
// port of this machine in it, and nothing is routed or translated for it.
func addBridge(ctx context.Context, name string, network netip.Prefix) error {
	address := netip.PrefixFrom(gateway(network), network.Bits()).String()
	for _, args := range [][]string{
		{"link", "add", "name", name, "address", bridgeMAC, "type", "bridge"},
		{"address", "add", address, "dev", name},
		{"link", "set", "dev", name, "up"},
	} {
		if _, err := run.Run(ctx, run.Cmd{Path: "ip", Args: args}); err != nil {
			return fmt.Errorf("make bridge %s: %w", name, err)
		}
	}
	return nil
}

// removeBridge copes with a bridge that is not there.
func removeBridge(name string) error {
	if name == "" {
		return nil
	}
	if _, err := net.InterfaceByName(name); err != nil {
		return nil //nolint:nilerr // it must not exist
	}
	// The removal continues if the run was interrupted.
	if _, err := run.Run(context.Background(), run.Cmd{Path: "ip", Args: []string{"link", "delete", "dev", name}}); err != nil {
		return fmt.Errorf("remove bridge: %w", err)
	}
	return nil
}

// removeCgroup removes an emptied cgroup in every hierarchy, the inner ones
// first: a cgroup's files are not removed by hand, only its directories.
func removeCgroup(name string) error {
	if name == "" {
		return nil
	}
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range append(roots, "/sys/fs/cgroup/"+name) {
		var dirs []string
		err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := syscall.Rmdir(dirs[i]); err != nil && !errors.Is(err, syscall.ENOENT) {
				errs = append(errs, fmt.Errorf("remove cgroup %s: %w", strings.TrimPrefix(dirs[i], "/sys/fs/cgroup/"), err))
			}
		}
	}
	return errors.Join(errs...)
}
