package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
)

// LXCPath is the directory of the bed's guests. Those that still run when the bed
// is taken down are stopped: a guest outlives the command that started it.
func (b Bed) LXCPath() string { return lxcPath(b.Dir) }

func lxcPath(dir string) string { return filepath.Join(dir, "guests") }

// stopGuests stops what runs below an lxcpath and removes the cgroup in which
// liblxc parks its monitors. Nothing to do is not an error.
func stopGuests(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// The removal continues if the run was interrupted.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		name := []string{"--lxcpath", path, "--name", e.Name()}
		res, err := run.Run(ctx, run.Cmd{Path: "lxc-info", Args: append(name, "--no-humanize", "--pid")})
		if err == nil && len(res.Stdout) > 1 && string(res.Stdout) != "-1\n" {
			_, err = run.Run(ctx, run.Cmd{Path: "lxc-stop", Args: append(name, "--kill")})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("stop guest %s: %w", e.Name(), err))
		}
	}
	// One that another container uses cannot be removed.
	for _, dir := range []string{"/sys/fs/cgroup/unified/lxc.pivot", "/sys/fs/cgroup/lxc.pivot"} {
		_ = os.Remove(dir)
	}
	return errors.Join(errs...)
}
