//go:build integration

package lxc_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// TestDetach: what was mounted ends also when the directory is gone or another one
// by now, and what the guest has mounted over it is not taken for success.
func TestDetach(t *testing.T) {
	b := newBed(t)
	vmid := testbed.VMIDs(t, 1)[0]
	ctx := t.Context()
	if err := b.Restore(ctx, vmid, driver.Spec{Archive: b.archive, Net: driver.Net{Bridge: b.bridge}}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.remove(t, vmid) })
	if err := b.Start(ctx, vmid); err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(b.pid(t, vmid))
	if err != nil {
		t.Fatal(err)
	}
	tmpfsOn := func(path string) func(string) error {
		return func(string) error {
			return b.InGuest(ctx, vmid, pid, func() error { return unix.Mount("tmpfs", path, "tmpfs", 0, "") })
		}
	}
	cases := []struct {
		name, target string
		meanwhile    func(source string) error
		want         error
	}{
		{"as it was", "/mnt/a", func(string) error { return nil }, nil},
		{"directory gone", "/mnt/b", os.RemoveAll, nil},
		{"another directory", "/mnt/c", func(source string) error { return errors.Join(os.RemoveAll(source), os.Mkdir(source, 0o755)) }, nil},
		{"a link", "/mnt/d", func(source string) error { return errors.Join(os.RemoveAll(source), os.Symlink("/", source)) }, nil},
		{"ended in the guest", "/mnt/e", func(string) error {
			return b.InGuest(ctx, vmid, pid, func() error { return unix.Unmount("/mnt/e", 0) })
		}, nil},
		{"mounted over", "/mnt/f", tmpfsOn("/mnt/f"), driver.ErrPending},
		{"mounted over the directory above", "/mnt/over/g", tmpfsOn("/mnt/over"), driver.ErrPending},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			source := filepath.Join(filepath.Dir(b.path), fmt.Sprint("source ", i))
			if err := os.Mkdir(source, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := b.Attach(ctx, vmid, driver.Mount{Source: source, Target: c.target, ReadOnly: true}); err != nil {
				t.Fatal(err)
			}
			if !b.mounted(t, pid, c.target) {
				t.Fatalf("nothing is mounted at %s", c.target)
			}
			if err := c.meanwhile(source); err != nil {
				t.Fatal(err)
			}
			if err := b.Detach(ctx, vmid, c.target); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if got := b.mounted(t, pid, c.target); got != (c.want != nil) {
				t.Errorf("mounted at %s is %v", c.target, got)
			}
			g, err := b.Guest(ctx, vmid)
			if err != nil || len(g.Mounts) != 0 {
				t.Errorf("the next start mounts %v, %v, want nothing", g.Mounts, err)
			}
		})
	}
}

func (b bed) mounted(t *testing.T, pid int, target string) bool {
	t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(table), " "+target+" ")
}
