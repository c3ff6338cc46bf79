// Package isolate runs a test that mounts, or that starts daemons, in mount and process
// namespaces of its own: whatever ends the test, also SIGKILL, its mounts and processes end with
// it. Call [Test] first in the test. It is for tests only.
package isolate

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// isolated has the name of the test that runs in namespaces of its own.
const isolated = "FELHOM_TEST_ISOLATED"

// Test reports whether the test is to do its work. It returns true in a second process, which
// runs this one test in the namespaces; in the first it runs that process, takes its result,
// and returns false. What is mounted outside of them later is seen inside. Without root it returns true
// at once: such a test cannot mount, and says so itself.
func Test(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	if os.Getenv(isolated) == t.Name() {
		if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
			t.Fatalf("keep mounts in this namespace: %v", err)
		}
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The kernel kills the child when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(t.Context(), self, "-test.run="+pattern(t.Name()), "-test.v", "-test.count=1", "-test.timeout=1h")
	cmd.Env = append(os.Environ(), isolated+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	said, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, unix.EPERM):
		t.Errorf("start the test in namespaces of its own: %v: root needs CAP_SYS_ADMIN for them; start a container of the tests as privileged", err)
	case err != nil:
		t.Errorf("%v:\n%s", err, said)
	case bytes.Contains(said, []byte("--- SKIP: "+t.Name()+" ")):
		t.Skipf("%s", said)
	case !bytes.Contains(said, []byte("--- PASS: "+t.Name()+" ")):
		t.Errorf("the test did not run:\n%s", said)
	}
	return false
}

// pattern selects the one test of that name.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}
