package configmount_test

import (
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/internal/driver"
)

// newPublicDir makes a directory that other users can walk to, which those of
// t.TempDir are not.
func newPublicDir(t *testing.T, parent string) string {
	t.Helper()
	top, err := os.MkdirTemp(parent, "felhom-mounts-")
	no(t, err)
	t.Cleanup(func() { no(t, os.RemoveAll(top)) })
	no(t, os.Chmod(top, 0o711))
	return top
}

// reads reports whether a user of this host reads file.
func reads(file string, uid, gid uint32) bool {
	cmd := exec.Command("cat", file)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	return cmd.Run() == nil
}

// hasACL reports whether a directory has an access control list.
func hasACL(t *testing.T, path string) bool {
	t.Helper()
	_, err := unix.Getxattr(path, "system.posix_acl_access", nil)
	if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Fatal(err)
	}
	return err == nil
}

// An access control list of ext4 takes fewer than 500 entries, one of tmpfs 8,000
// at best: guests with an id range of their own each must not need one entry each
// in a list that they share, nor leave one.
func TestThousandsOfGuestsWithRangesOfTheirOwn(t *testing.T) {
	const guests, first = 1200, 8200
	for name, parent := range map[string]string{"disk": "", "memory": "/dev/shm"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(newPublicDir(t, parent), "mounts")
			dir := configmount.New(path, configmount.OwnerHost)
			id := func(i int) int { return 1<<30 + i*65536%(1<<30) }
			for i := range guests {
				if err := dir.Put(first+i, driver.IDs{UID: id(i), GID: id(i)}, configmount.BootstrapFile, []byte("x")); err != nil {
					t.Fatalf("guest %d of %d: %v", i+1, guests, err)
				}
			}
			for _, i := range []int{0, 1, 499, guests - 1} {
				file, own, next := filepath.Join(dir.Path(first+i), configmount.BootstrapFile), uint32(id(i)), uint32(id((i+1)%guests))
				for _, c := range []struct {
					who      string
					uid, gid uint32
					want     bool
				}{
					{"the guest's root", own, own, true},
					{"another guest's root", next, next, false},
					{"a setgid program of the guest", 65534, own, false},
					{"a setgid program of another guest", 65534, next, false},
					{"a user", 65534, 65534, false},
				} {
					if got := reads(file, c.uid, c.gid); got != c.want {
						t.Errorf("guest %d: %s reads its mount: %v, want %v", first+i, c.who, got, c.want)
					}
				}
			}
			for i := range guests {
				no(t, dir.Remove(first+i))
			}
			left, err := os.ReadDir(path)
			no(t, err)
			if len(left) > 0 || hasACL(t, path) {
				t.Errorf("after all guests are removed: %d entries, an access control list: %v, want nothing", len(left), hasACL(t, path))
			}
		})
	}
}

// layouts are how earlier versions left the directory of the mounts.
var layouts = map[string]func(t *testing.T, path string, ids []int){
	"open, a group for each mount": func(t *testing.T, path string, _ []int) { no(t, os.Chmod(path, 0o711)) },
	"closed, a list for all mounts": func(t *testing.T, path string, ids []int) {
		// The format of linux/posix_acl_xattr.h: tag, rights, id of each entry.
		const all = 0xffffffff
		entries := [][3]uint32{{1, 7, all}, {4, 0, all}, {16, 1, all}, {32, 0, all}}
		for i, id := range ids {
			entries = slices.Insert(entries, 1+i, [3]uint32{2, 1, uint32(id)})
		}
		list := binary.LittleEndian.AppendUint32(nil, 2)
		for _, e := range entries {
			list = binary.LittleEndian.AppendUint16(list, uint16(e[0]))
			list = binary.LittleEndian.AppendUint16(list, uint16(e[1]))
			list = binary.LittleEndian.AppendUint32(list, e[2])
		}
		no(t, unix.Setxattr(path, "system.posix_acl_access", list, 0))
	},
}

// TestEarlierLayouts has the first write of a new version find what an earlier
// one made: no mount opens to a group on the way, and each guest keeps its own.
func TestEarlierLayouts(t *testing.T) {
	for name, make := range layouts {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(newPublicDir(t, ""), "mounts")
			guests := map[int]int{8200: 100000, 8201: 100000, 8202: 165536}
			no(t, os.Mkdir(path, 0o700))
			dir := configmount.New(path, configmount.OwnerHost)
			for vmid, id := range guests {
				no(t, os.Mkdir(dir.Path(vmid), 0o700))
				no(t, os.Chown(dir.Path(vmid), 0, id))
				no(t, os.Chmod(dir.Path(vmid), 0o750))
				file := filepath.Join(dir.Path(vmid), configmount.BootstrapFile)
				no(t, os.WriteFile(file, []byte("x"), 0o600))
				no(t, os.Chown(file, 0, id))
				no(t, os.Chmod(file, 0o640))
			}
			make(t, path, []int{100000, 165536, 7000000}) // the last one of a guest that was removed
			no(t, dir.Put(8200, root, configmount.BootstrapFile, []byte("x")))
			if hasACL(t, path) {
				t.Error("the list for all mounts stays")
			}
			closed := []int{8200, 8201}
			if name != "open, a group for each mount" {
				closed = append(closed, 8202)
			}
			for vmid, id := range guests {
				if !reads(filepath.Join(dir.Path(vmid), configmount.BootstrapFile), uint32(id), uint32(id)) {
					t.Errorf("the root of guest %d does not read its mount", vmid)
				}
			}
			for _, vmid := range closed {
				if reads(filepath.Join(dir.Path(vmid), configmount.BootstrapFile), 65534, uint32(guests[vmid])) {
					t.Errorf("a setgid program reads the mount of guest %d", vmid)
				}
			}
		})
	}
}

// A mount whose guest's root is not known cannot be closed by itself: the
// directory of all mounts stays closed until that guest's next write.
func TestMountOfAnUnknownRootKeepsAllClosed(t *testing.T) {
	path := filepath.Join(newPublicDir(t, ""), "mounts")
	dir := configmount.New(path, configmount.OwnerHost)
	no(t, os.MkdirAll(dir.Path(8201), 0o700))
	no(t, os.Chmod(path, 0o700))
	layouts["closed, a list for all mounts"](t, path, []int{200000})
	no(t, os.Chown(dir.Path(8201), 0, 300000)) // its root is user 200000 of group 300000
	no(t, os.Chmod(dir.Path(8201), 0o750))
	no(t, os.WriteFile(filepath.Join(dir.Path(8201), "x"), nil, 0o600))
	no(t, os.Chmod(filepath.Join(dir.Path(8201), "x"), 0o644))

	no(t, dir.Put(8200, root, configmount.BootstrapFile, []byte("x")))
	if !reads(filepath.Join(dir.Path(8200), configmount.BootstrapFile), mappedRoot, mappedRoot) {
		t.Error("the root of guest 8200 does not read its mount")
	}
	for _, c := range []struct {
		uid, gid uint32
		want     bool
	}{{200000, 300000, true}, {65534, 300000, false}} {
		if got := reads(filepath.Join(dir.Path(8201), "x"), c.uid, c.gid); got != c.want {
			t.Errorf("user %d with group %d reads the mount of guest 8201: %v, want %v", c.uid, c.gid, got, c.want)
		}
	}
	no(t, dir.Put(8201, driver.IDs{UID: 200000, GID: 300000}, configmount.BootstrapFile, []byte("x")))
	if hasACL(t, path) {
		t.Error("the list for all mounts stays though each mount is closed")
	}
	if reads(filepath.Join(dir.Path(8201), "x"), 65534, 300000) {
		t.Error("a setgid program reads the mount of guest 8201")
	}
}
