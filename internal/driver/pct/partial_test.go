package pct_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct/pcttest"
)

// What a restore leaves that was killed with its worker: a configuration of one
// line, a volume that it does not name, and the mount of that.
func TestDiscardOfKilledRestore(t *testing.T) {
	for _, storage := range []string{"local-lvm", "data"} {
		t.Run(storage, func(t *testing.T) {
			n, d := newDriver(t)
			dirStorage(t, n)
			s := spec()
			s.Storage = storage
			n.KillRestore(vmid, "local:backup/"+golden, storage)
			if n.Config(vmid) != "lock: create\n" || len(n.Volumes(storage)) != 1 || !slices.Contains(n.Mounted(), vmid) {
				t.Fatalf("left is %q, %v, %v", n.Config(vmid), n.Volumes(storage), n.Mounted())
			}
			n.SetFaults(pcttest.Faults{MountBusy: true})
			wantClass(t, d.Discard(t.Context(), vmid, storage), driver.ErrBusy, "rootfs is still in use")
			if len(n.Volumes(storage)) != 1 || n.Config(vmid) != "lock: create\n" {
				t.Errorf("removed while mounted: %v, %q", n.Volumes(storage), n.Config(vmid))
			}
			n.SetFaults(pcttest.Faults{})
			if err := d.Discard(t.Context(), vmid, storage); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(n.Dir("var/lib/lxc/8200")); !os.IsNotExist(err) || len(n.Volumes(storage)) > 0 || len(n.Mounted()) > 0 {
				t.Errorf("left: %v, %v, %v", err, n.Volumes(storage), n.Mounted())
			}
			if err := d.Restore(t.Context(), vmid, s, nil); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("number taken by a VM", func(t *testing.T) {
		n, d := newDriver(t)
		n.MakePartial(vmid)
		n.SetElsewhere(vmid, "pve2", "qemu")
		wantClass(t, d.Discard(t.Context(), vmid, "local-lvm"), driver.ErrExists, "vm-8200-disk-0 left alone")
		if len(n.Volumes("local-lvm")) != 1 {
			t.Error("the VM's disk was freed")
		}
	})
	t.Run("killed while it was removed", func(t *testing.T) {
		n, d := newDriver(t)
		n.MakePartial(vmid)
		ctx, cancel := context.WithCancel(t.Context())
		o := options(n)
		o.Unmount = func(path string) error { cancel(); return n.Unmount(path) }
		wantClass(t, open(t, o).Discard(ctx, vmid, "local-lvm"), context.Canceled)
		if err := d.Discard(t.Context(), vmid, "local-lvm"); err != nil || len(n.Volumes("local-lvm")) > 0 {
			t.Errorf("%v, left %v", err, n.Volumes("local-lvm"))
		}
	})
	t.Run("other mounts stay", func(t *testing.T) {
		n, _ := newDriver(t)
		n.MakePartial(vmid)
		root := n.Dir("var/lib/lxc/8200/rootfs")
		paths := []string{"/", root, root + `/srv/a\040b`, root + "2", n.Dir("var/lib/lxc/82001/rootfs")}
		var ended []string
		list := func() {
			var b strings.Builder
			for _, p := range paths {
				b.WriteString("22 1 8:1 / " + p + " rw shared:1 - ext4 /dev/sda1 rw\n")
			}
			n.Replace(pcttest.MountInfo, b.String())
		}
		list()
		o := options(n)
		o.Unmount = func(path string) error {
			ended = append(ended, path)
			paths = slices.DeleteFunc(paths, func(p string) bool { return strings.ReplaceAll(p, `\040`, " ") == path })
			list()
			if path == root {
				return n.Unmount(path)
			}
			return nil
		}
		if err := open(t, o).Discard(t.Context(), vmid, "local-lvm"); err != nil || !slices.Equal(ended, []string{root + "/srv/a b", root}) {
			t.Errorf("%v; ended %q", err, ended)
		}
	})
}

// A VMID that a VM has, or another node's guest, is found before anything
// begins; so is a storage that is not there.
func TestCheckElsewhere(t *testing.T) {
	for _, c := range []struct {
		name       string
		node, kind string
		words      string // "": fine
	}{
		{"VM here", pcttest.NodeName, "qemu", "a VM (qemu) of node pve"},
		{"VM of another node", "pve2", "qemu", "a VM (qemu) of node pve2"},
		{"container of another node", "pve2", "lxc", "a container (lxc) of node pve2"},
		{"kind of a later PVE", "pve2", "oci", "a guest (oci) of node pve2"},
		{"container of this node", pcttest.NodeName, "lxc", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, d := newDriver(t)
			if c.words == "" {
				n.SetConfig(vmid, guestConfig)
				if err := d.Check(t.Context(), vmid, spec()); err != nil {
					t.Error(err)
				}
				return
			}
			n.SetElsewhere(vmid, c.node, c.kind)
			s := spec()
			s.Storage = "nowhere"
			err := d.Check(t.Context(), vmid, s)
			wantClass(t, err, driver.ErrExists, c.words)
			wantClass(t, err, driver.ErrNoStorage, "No such storage.")
			if calls := n.Calls(); len(calls) > 0 {
				t.Errorf("a check called %q", calls)
			}
		})
	}
}
