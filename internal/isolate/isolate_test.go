package isolate_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/isolate"
)

// place has, in the process that TestMountsOfAKilledTestEnd kills, the directory to mount on.
const place = "FELHOM_TEST_ISOLATE_PLACE"

// TestMounts mounts and waits to be killed where it is told to; otherwise it shows that its
// mounts are not seen outside.
func TestMounts(t *testing.T) {
	dir, isTold := os.LookupEnv(place)
	if !isTold {
		dir = t.TempDir()
	}
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	if !isolate.Test(t) {
		return
	}
	if err := unix.Mount("felhom-isolate-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	if !isTold {
		if data, err := os.ReadFile("/proc/thread-self/mountinfo"); err != nil || !strings.Contains(string(data), dir) {
			t.Errorf("%s is not mounted here: %v", dir, err)
		}
		return
	}
	cmd := exec.Command("sleep", "600")
	cmd.Dir = dir
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}

func TestMountsOfAKilledTestEnd(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestMounts$")
	cmd.Env = append(os.Environ(), place+"="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	await(t, "a process that has the mount", func() bool { return len(with(t, dir)) > 0 })
	if data, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(data), dir) {
		t.Errorf("%s is mounted outside of the test's namespace: %v", dir, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	await(t, "the end of mounts and processes", func() bool { return len(with(t, dir)) == 0 })
}

// Root of a container that is not privileged makes no namespaces: what is missing is named.
func TestRootWithoutTheCapability(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The thread, whose children do not have the capability, ends with the test.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), self, "-test.run=^TestMounts$").CombinedOutput()
	if err == nil || !bytes.Contains(said, []byte("root needs CAP_SYS_ADMIN")) {
		t.Errorf("%v:\n%s", err, said)
	}
}

// with lists the processes in whose namespace something is mounted at dir.
func with(t *testing.T, dir string) (list []string) {
	t.Helper()
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		if data, err := os.ReadFile(name); err == nil && bytes.Contains(data, []byte(" "+dir+" ")) { // it may have ended
			list = append(list, name)
		}
	}
	return list
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !is(); <-again.C {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}
