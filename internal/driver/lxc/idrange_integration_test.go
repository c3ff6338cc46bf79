//go:build integration

package lxc_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/directory"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// asUser reports whether a local user with this primary group can run a program.
func asUser(uid, gid uint32, argv ...string) bool {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	return cmd.Run() == nil
}

// TestGuestsWithRangesOfTheirOwn run side by side, and neither a local user nor
// one with the group of a guest's setgid program gets into a guest's directory.
func TestGuestsWithRangesOfTheirOwn(t *testing.T) {
	b := newBed(t)
	b.Driver = lxc.New(lxc.Options{Path: b.path, Storage: directory.New(b.path), PerGuest: true})
	roots := map[int]bool{}
	for _, vmid := range testbed.VMIDs(t, 2) {
		spec := driver.Spec{Archive: b.archive, Net: driver.Net{Bridge: b.bridge}}
		if err := b.Check(t.Context(), vmid, spec); err != nil {
			t.Fatal(err)
		}
		if err := b.Restore(t.Context(), vmid, spec, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.remove(t, vmid) })
		if err := b.Start(t.Context(), vmid); err != nil {
			t.Fatal(err)
		}
		g, err := b.Guest(t.Context(), vmid)
		if err != nil || g.State != driver.Running || g.Root.UID == 100000 || g.Root.UID != g.Root.GID || roots[g.Root.UID] {
			t.Fatalf("guest %+v, %v", g, err)
		}
		roots[g.Root.UID] = true
		dir := filepath.Join(b.path, strconv.Itoa(vmid))
		for path, uid := range map[string]int{
			"/proc/" + b.pid(t, vmid):              g.Root.UID,
			filepath.Join(dir, "rootfs"):           g.Root.UID,
			filepath.Join(dir, "rootfs/sbin/init"): g.Root.UID,
		} {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := int(info.Sys().(*syscall.Stat_t).Uid); got != uid {
				t.Errorf("%s belongs to %d, want %d", path, got, uid)
			}
		}
		for _, gid := range []int{65534, 100000, g.Root.GID} {
			if asUser(65534, uint32(gid), "test", "-e", filepath.Join(dir, "rootfs/sbin/init")) {
				t.Errorf("a local user of group %d reaches the programs of guest %d", gid, vmid)
			}
		}
	}
}
