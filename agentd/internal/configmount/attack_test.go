package configmount_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/internal/driver"
)

// A setgid program of one guest gives any local user the group of all guests
// with its id range: that group must not lead to the others' mounts.
func TestSetgidProgramReachesNoMount(t *testing.T) {
	top, err := os.MkdirTemp("", "felhom-mounts-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(top); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(top, 0o711); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(top, "mounts")
	if err := os.Mkdir(path, 0o700); err != nil { // as an earlier version made it
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o711); err != nil {
		t.Fatal(err)
	}
	dir := configmount.New(path, configmount.OwnerHost)
	for vmid, id := range map[int]int{8200: 100000, 8201: 100000, 8202: 165536} {
		if err := dir.Put(vmid, driver.IDs{UID: id, GID: id}, configmount.BootstrapFile, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		vmid     int
		uid, gid uint32
		want     bool
	}{
		{8200, 65534, 100000, false},
		{8201, 65534, 100000, false},
		{8202, 65534, 165536, false},
		{8202, 100000, 100000, false},
		{8200, 165536, 165536, false},
		{8200, 100000, 100000, true}, // the guest's root itself, as it starts
		{8202, 165536, 165536, true},
	} {
		cmd := exec.Command("cat", filepath.Join(dir.Path(c.vmid), configmount.BootstrapFile))
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.uid, Gid: c.gid}}
		if got := cmd.Run() == nil; got != c.want {
			t.Errorf("user %d with group %d reads the mount of guest %d: %v, want %v", c.uid, c.gid, c.vmid, got, c.want)
		}
	}
}
