//go:build integration

package lxc_test

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/directory"
	"github.com/felhom/felhom-golden/internal/driver/drivertest"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/e2e/tiny"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

// TestMain runs the tests where root may map the ids that guests get, whatever
// this machine's /etc/subuid says: newuidmap reads no other file.
func TestMain(m *testing.M) {
	os.Exit(testbed.RunWithSubIDs(func() int { return leaktest.Run(m) }))
}

// bed has a small guest of its own: an init that waits.
type bed struct {
	*lxc.Driver
	path    string
	archive string
	bridge  string
}

func newBed(t *testing.T) bed {
	t.Helper()
	if err := testbed.Require(t.Context(), os.Stderr, "lxc-start"); err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its directories are closed, and a guest's root is another user here.
	dir, err := os.MkdirTemp("", "felhom-lxc-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	b := bed{path: filepath.Join(dir, "guests"), archive: filepath.Join(dir, "vzdump-lxc-9100-2026_01_01-00_00_00.tar.zst"), bridge: testbed.FromEnv(t).Bridge}
	b.Driver = lxc.New(lxc.Options{Path: b.path, Storage: directory.New(b.path)})
	if err := tiny.Write(t.Context(), b.archive, tiny.Config()); err != nil {
		t.Fatal(err)
	}
	return b
}

// writeWithoutConfig makes the plain tar that some other program might.
func writeWithoutConfig(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	err = w.WriteHeader(&tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755})
	if err := errors.Join(err, w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func (b bed) pid(t *testing.T, vmid int) string {
	t.Helper()
	out, err := exec.Command("lxc-info", "--lxcpath", b.path, "--name", fmt.Sprint(vmid), "--no-humanize", "--pid").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestConforms(t *testing.T) {
	drivertest.RunHypervisor(t, func(t *testing.T) drivertest.HypervisorBed {
		b := newBed(t)
		truncated, none := b.archive+".truncated.tar.zst", b.archive+".none.tar.zst"
		data, err := os.ReadFile(b.archive)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(truncated, data[:len(data)*2/3], 0o644); err != nil {
			t.Fatal(err)
		}
		writeWithoutConfig(t, none)
		var next int
		return drivertest.HypervisorBed{
			Hypervisor: b, Archive: b.archive, Truncated: truncated, NoConfig: none, Bridge: b.bridge,
			VMID: func() int { next = testbed.VMIDs(t, 1)[0]; return next },
			Dir: func(t *testing.T) string {
				dir := filepath.Join(filepath.Dir(b.path), "mounts", fmt.Sprint(next, randomByte(), randomByte()))
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				return dir
			},
			MakePartial: func(t *testing.T, vmid int) { b.killRestore(t, vmid) },
			Sees: func(t *testing.T, vmid int, path string) bool {
				_, err := os.Lstat(filepath.Join("/proc", b.pid(t, vmid), "root", path))
				return err == nil
			},
		}
	})
}

func randomByte() int {
	var b [1]byte
	_, _ = rand.Read(b[:]) // never fails
	return int(b[0])
}

// killRestore leaves what a Restore leaves that is killed in the middle.
func (b bed) killRestore(t *testing.T, vmid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=TestRestoreThatIsKilled")
	cmd.Env = append(os.Environ(), fmt.Sprintf("FELHOM_LXC_KILLED=%s %d %s %s", b.path, vmid, b.archive, b.bridge))
	out, err := cmd.CombinedOutput()
	if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
		t.Fatalf("the restore was not killed: %v\n%s", err, out)
	}
}

// TestRestoreThatIsKilled is the process that killRestore has killed.
func TestRestoreThatIsKilled(t *testing.T) {
	args := os.Getenv("FELHOM_LXC_KILLED")
	if args == "" {
		return // as a test of its own it has nothing to show
	}
	var path, archive, bridge string
	var vmid int
	if _, err := fmt.Sscan(args, &path, &vmid, &archive, &bridge); err != nil {
		t.Fatal(err)
	}
	d := lxc.New(lxc.Options{Path: path})
	err := d.Restore(t.Context(), vmid, driver.Spec{Archive: archive, Net: driver.Net{Bridge: bridge}}, func(done, total int64) {
		if done > total/2 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	})
	t.Fatalf("the restore came back: %v", err)
}

// TestMountOfAHostileGuest: links that the guest's root puts in the way of a
// mount lead nowhere.
func TestMountOfAHostileGuest(t *testing.T) {
	b := newBed(t)
	vmid := testbed.VMIDs(t, 1)[0]
	ctx := t.Context()
	source := filepath.Join(filepath.Dir(b.path), "mount")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(ctx, vmid, driver.Spec{Archive: b.archive, Net: driver.Net{Bridge: b.bridge}}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.remove(t, vmid) })
	rootfs := filepath.Join(b.path, fmt.Sprint(vmid), "rootfs")
	for name, to := range map[string]string{"etc/evil": "/proc/1/root/etc", "etc/sideways": "../tmp"} {
		if err := os.Symlink(to, filepath.Join(rootfs, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Start(ctx, vmid); err != nil {
		t.Fatal(err)
	}
	unique := filepath.Base(filepath.Dir(b.path)) + fmt.Sprint(vmid) // the machine may have a /etc/felhom of its own
	for _, target := range []string{"/etc/evil/" + unique, "/etc/evil", "/etc/sideways/" + unique} {
		if err := b.Attach(ctx, vmid, driver.Mount{Source: source, Target: target}); err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("mount at %s: error %v, want the link named", target, err)
		}
	}
	for _, dir := range []string{"/etc/" + unique, filepath.Join(rootfs, "tmp", unique)} {
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%s was made through the guest's link", dir)
		}
	}
}

func (b bed) remove(t *testing.T, vmid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := b.Shutdown(ctx, vmid, 0)
	if errors.Is(err, driver.ErrNotRunning) {
		err = nil
	}
	if err := errors.Join(err, b.Destroy(ctx, vmid)); err != nil {
		t.Error(err)
	}
}

// TestGuestFiles: what PVE writes into a Debian guest is there, the guest's
// own, and links of the image are not followed.
func TestGuestFiles(t *testing.T) {
	b := newBed(t)
	vmid := testbed.VMIDs(t, 1)[0]
	if err := b.Restore(t.Context(), vmid, driver.Spec{Archive: b.archive, Hostname: "a.example", Net: driver.Net{Bridge: b.bridge}}, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.remove(t, vmid) })
	for name, want := range map[string]string{
		"etc/hostname":           "a\n",
		"etc/hosts":              "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 a.example a\n",
		"etc/network/interfaces": "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n",
	} {
		f, err := os.Open(filepath.Join(b.path, fmt.Sprint(vmid), "rootfs", name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		info, statErr := f.Stat()
		if err := errors.Join(err, statErr, f.Close()); err != nil {
			t.Fatal(err)
		}
		st, _ := info.Sys().(*syscall.Stat_t)
		if string(got) != want || st.Uid != 100000 || st.Gid != 100000 || info.Mode() != 0o644 {
			t.Errorf("%s is %q of %d:%d %v, want %q of 100000:100000 0644", name, got, st.Uid, st.Gid, info.Mode(), want)
		}
	}
}

// TestUmask: a caller's umask does not close a guest's directories to the guest.
func TestUmask(t *testing.T) {
	b := newBed(t)
	b.path = filepath.Join(b.path, "deep/guests")
	b.Driver = lxc.New(lxc.Options{Path: b.path, Storage: directory.New(b.path)})
	vmid := testbed.VMIDs(t, 1)[0]
	source := filepath.Join(filepath.Dir(b.archive), "mount")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	before := syscall.Umask(0o077)
	t.Cleanup(func() { syscall.Umask(before) })
	err := b.Restore(t.Context(), vmid, driver.Spec{Archive: b.archive, Net: driver.Net{Bridge: b.bridge}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.remove(t, vmid) })
	if err := b.Start(t.Context(), vmid); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.path, fmt.Sprint(vmid))
	killed := []string{filepath.Join(dir, ".pct.conf.ABCDEFGH.tmp"), filepath.Join(dir, ".config.ABCDEFGH.tmp")}
	for _, name := range killed {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Attach(t.Context(), vmid, driver.Mount{Source: source, Target: "/made/target"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range killed {
		if _, err := os.Lstat(name); !os.IsNotExist(err) {
			t.Errorf("the file of a killed change stays: %v", err)
		}
	}
	if now := syscall.Umask(0o077); now != 0o077 {
		t.Errorf("the umask of the process is %#o now", now)
	}
	for path, want := range map[string]os.FileMode{
		filepath.Dir(b.path): 0o711, b.path: 0o711, dir: 0o710, filepath.Join(dir, "rootfs"): 0o755, filepath.Join(dir, "rootfs/made"): 0o755,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info, err, want)
		}
	}
}

// TestDestroySweepsCgroups: what liblxc left of a start that failed goes with
// the guest, and another guest's whose number begins alike stays.
func TestDestroySweepsCgroups(t *testing.T) {
	b := newBed(t)
	vmid := testbed.VMIDs(t, 1)[0]
	if err := b.Restore(t.Context(), vmid, driver.Spec{Archive: b.archive, Net: driver.Net{Bridge: b.bridge}}, nil); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := unix.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	name := func(format string) string { return filepath.Join(root, fmt.Sprintf(format, vmid)) }
	gone := []string{name("lxc.monitor.%d"), name("lxc.payload.%d-12"), name("lxc.payload.%d-12/inner")}
	stays := []string{name("lxc.payload.%d0"), name("lxc.payload.%d-a")}
	for _, dir := range append(gone, stays...) {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Destroy(t.Context(), vmid); err != nil {
		t.Error(err)
	}
	for _, dir := range gone {
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%s is still there", dir)
		}
	}
	for _, dir := range stays {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	}
}
