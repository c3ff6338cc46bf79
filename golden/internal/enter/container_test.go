package enter_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/golden/internal/enter/entertest"
)

// insideVariable has the kind of container that the tests run in: "masked" or "open".
const insideVariable = "ENTER_TEST_INSIDE"

// In an unprivileged container all is as it is on a machine: also where the container engine hides parts of /proc and
// /sys, for which the kernel refuses a new one.
func TestUnprivilegedContainer(t *testing.T) {
	for _, kind := range []string{"open", "masked"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.skip=^TestUnprivilegedContainer$|^TestContainerLacks$", "-test.timeout=5m")
			cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), insideVariable+"="+kind), &out, &out
			if err := entertest.RunContained(cmd, kind == "masked"); err != nil {
				t.Errorf("tests in the container: %v\n%s", err, out.String())
			}
			for _, name := range []string{"TestMachine", "TestHand", "TestNoSync", "TestNetwork", "TestNoWayOut", "TestKilledPID1", "TestContainerKind"} {
				if !strings.Contains(out.String(), "--- PASS: "+name+" ") {
					t.Errorf("%s did not pass in the container:\n%s", name, out.String())
				}
			}
		})
	}
}

// What is bound must be what it is called.
func TestContainerLacks(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, mount, want string }{
		{"a file in place of a device", "touch /tmp/f; mount --bind /tmp/f /dev/zero", "/dev/zero of this machine: want the character device 1:5"},
		{"another device", "mount --bind /dev/null /dev/urandom", "/dev/urandom of this machine: want the character device 1:9"},
		{"no device", "mkdir /tmp/d; mount -t tmpfs tmpfs /tmp/d; for d in null zero full urandom; do touch /tmp/d/$d; mount --bind /dev/$d /tmp/d/$d; done; mount --rbind /tmp/d /dev", "this machine has no /dev/random"},
		{"no sysfs", "mount -t tmpfs tmpfs /sys", "what this machine has at /sys is another file system"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", "mount -t tmpfs tmpfs /tmp; "+tt.mount+`; exec "$@"`, "sh", "/proc/self/fd/3", "-test.run=^TestRunStatus$")
			program, err := os.Open(self)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = program.Close() }()
			cmd.ExtraFiles, cmd.Env, cmd.Stdout, cmd.Stderr = []*os.File{program}, append(os.Environ(), insideVariable+"=masked"), &out, &out
			if err := entertest.RunContained(cmd, true); err == nil || !strings.Contains(out.String(), tt.want) {
				t.Errorf("want %q, got %v\n%s", tt.want, err, out.String())
			}
		})
	}
}

// The containers of the tests are ones: otherwise they would show nothing.
func TestContainerKind(t *testing.T) {
	kind := os.Getenv(insideVariable) // "" on the machine
	err := unix.Mknod(filepath.Join(t.TempDir(), "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
	if errors.Is(err, unix.EPERM) != (kind != "") || err != nil && kind == "" {
		t.Errorf("make a device in a container that is %q: %v", kind, err)
	}
	out, err := exec.Command("unshare", "--mount", "--pid", "--fork", "mount", "-t", "proc", "proc", t.TempDir()).CombinedOutput()
	if (err != nil) != (kind == "masked") {
		t.Errorf("mount proc in a container that is %q: %v %s", kind, err, out)
	}
	root := entertest.Root(t, "cat")
	got, _ := in(t, enter.Options{Root: root}, "echo /proc/[0-9]*")
	if few := len(strings.Fields(got)) < 4; few != (kind != "masked") {
		t.Errorf("processes seen in a container that is %q: %s", kind, got)
	}
}

// A program that is not asked to gets at no file of this machine, whatever /proc shows.
func TestNoWayOut(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("of the machine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("/proc/self/root" + secret); err != nil || string(got) != "of the machine" {
		t.Fatalf("outside: %q, %v", got, err) // or the check below shows nothing
	}
	t.Setenv("ENTER_TEST_SECRET", "of the machine") // a program that this one starts has it in its environment
	root := entertest.Root(t, "cat", "grep", "ls")
	for _, line := range []string{
		"cat /proc/[0-9]*/root" + secret, "cat /proc/[0-9]*/environ | grep -a SECRET", "cat /.." + secret, "cat " + secret,
		"cat /proc/[0-9]*/cwd/container_test.go",
	} {
		for _, network := range []bool{false, true} {
			if got, code := in(t, enter.Options{Root: root, Network: network}, line); code == 0 || strings.Contains(got, "of the machine") {
				t.Errorf("%s: got at it: %q, status %d", line, got, code)
			}
		}
	}
	for _, dir := range []string{"/proc/sys/net/ipv4/ip_forward", "/sys/x", "/sys/kernel/x", "/sys/fs/cgroup/x"} {
		if got, code := in(t, enter.Options{Root: root}, "echo 1 >"+dir); code == 0 || !strings.Contains(got, "Read-only") && !strings.Contains(got, "nonexistent") {
			t.Errorf("write %s: want read-only, got %q, status %d", dir, got, code)
		}
	}
}
