package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/filelock"
)

// Sweep removes what killed commands left: lock files, temporary files of
// journals, and those in the guests' mounts, which hold tokens. It skips a
// guest that a command is working on.
func Sweep(ctx context.Context, stateDir string, mounts configmount.Dir) error {
	js := journalsIn(stateDir)
	entries, err := os.ReadDir(js.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	found, err := mounts.Guests()
	if err != nil {
		return err
	}
	vmids := map[int]bool{}
	for _, vmid := range found {
		vmids[vmid] = true
	}
	for _, e := range entries {
		name := e.Name()
		if target := atomicfile.Target(name); target != "" {
			name = target
		}
		if vmid, err := strconv.Atoi(strings.TrimSuffix(name, filepath.Ext(name))); err == nil {
			vmids[vmid] = true
		}
	}
	var all []error
	for vmid := range vmids {
		if err := js.sweep(ctx, vmid, mounts); err != nil {
			all = append(all, fmt.Errorf("guest %d: %w", vmid, err))
		}
	}
	return errors.Join(all...)
}

func (js journals) sweep(ctx context.Context, vmid int, mounts configmount.Dir) error {
	unlock, err := js.claim(ctx, vmid, atOnce)
	if errors.Is(err, filelock.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(mounts.Sweep(vmid), unlock()) // which removes the lock file
}
