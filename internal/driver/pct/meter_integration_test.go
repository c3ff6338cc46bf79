//go:build integration

package pct_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
)

// otherUser is a user without rights.
const otherUser = 65534

// TestMeterOfAnotherUsersSocket: while a guest is stopped, any user of the host
// can take the name of its monitor, and could show the guest any process.
func TestMeterOfAnotherUsersSocket(t *testing.T) {
	m := newMonitored(t, "rootfs: local-lvm:vm-8200-disk-0,size=8G\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: Go ends the thread, which alone is another user
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, otherUser, otherUser, otherUser); errno != 0 {
			t.Error(errno)
			return
		}
		m.listen(t, saying(1))
	}()
	<-done
	if _, err := m.meter().Storage(t.Context(), m.vmid); !errors.Is(err, driver.ErrNoFigures) || !strings.Contains(err.Error(), "user 65534") {
		t.Errorf("got %v, want that user 65534 listens", err)
	}
}

// startHelper starts a process and waits for its first line.
func startHelper(t *testing.T, helper *exec.Cmd) {
	t.Helper()
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	helper.Stderr = os.Stderr
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = helper.Process.Kill() // it has no other end
		_ = helper.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
}

// TestMeterOfHostileViews: the init sees a file system of FUSE that answers
// nothing where a volume should be, a link that leads out, and a real volume.
func TestMeterOfHostileViews(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Fatal("/dev/fuse is missing: modprobe fuse")
	}
	m := newMonitored(t, "")
	data, dead, link := filepath.Join(m.dir, "data"), filepath.Join(m.dir, "dead"), filepath.Join(m.dir, "link")
	for _, dir := range []string{data, dead} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	config := "rootfs: local-lvm:vm-8200-disk-0,size=8G\n"
	for i, target := range []string{dead, filepath.Join(dead, "below"), link, filepath.Join(m.dir, "missing"), data + "/../data", data, m.dir} {
		config += fmt.Sprintf("mp%d: local-lvm:vm-8200-disk-%d,mp=%s,size=1G\n", i, i+1, target)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "pve/lxc/8200.conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	helper := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestSeeHostileView$") //nolint:gosec // this program
	helper.Env = append(os.Environ(), "FELHOM_VIEW="+m.dir)
	helper.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	startHelper(t, helper)
	m.listen(t, saying(uint64(helper.Process.Pid))) //nolint:gosec // positive
	began := time.Now()
	usage, err := m.meter().Storage(t.Context(), m.vmid)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	var paths []string
	for _, u := range usage {
		paths = append(paths, u.Path)
		if u.Size <= 0 || u.Used <= 0 || u.Used > u.Size {
			t.Errorf("%+v", u)
		}
	}
	if got, want := strings.Join(paths, " "), "/ "+data; got != want {
		t.Errorf("figures of %s, want %s", got, want)
	}
}

// TestSeeHostileView is the process of TestMeterOfHostileViews.
func TestSeeHostileView(t *testing.T) {
	dir := os.Getenv("FELHOM_VIEW")
	if dir == "" {
		return // it is only a part of another test
	}
	// The view is closed to this machine's other mounts (Unshareflags).
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	err = errors.Join(
		unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
		unix.Mount(data, data, "", unix.MS_BIND, ""),
		unix.Mount("dead", filepath.Join(dir, "dead"), "fuse", 0, "fd="+strconv.Itoa(device)+",rootmode=40000,user_id=0,group_id=0"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stdout.WriteString("mounted\n"); err != nil {
		t.Fatal(err)
	}
	select {} // until it is killed
}
