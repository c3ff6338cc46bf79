package bootstrap

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/felhom/felhom-golden/internal/command/commandtest"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/leaktest"
)

const valid = `{"hub_url":"https://hub.example","host_id":"h","local_api_endpoint":"https://127.0.0.1:1",
"local_api_pin_spki_sha256":"uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=","local_api_token":"token","controller_image":"reg.example/c:v1"}`

// TestMain lets the test binary be the guest's root: a child in a user
// namespace of its own runs the mount step and prints what it gets.
func TestMain(m *testing.M) {
	if path := os.Getenv("MOUNT_STEP_OF"); path != "" {
		_, warnings, err := Check(Options{}, path)
		_, _ = fmt.Fprintf(os.Stdout, "warnings %q\nexit %d\nerror %v\nhint %s\n", warnings, fault.Of(err), err, fault.HintOf(err))
		os.Exit(0)
	}
	os.Exit(leaktest.Run(m))
}

// inGuest runs the mount step as root of an unprivileged guest whose ids begin
// at base, as a process of its own.
func inGuest(t *testing.T, path string, base int) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "MOUNT_STEP_OF="+path)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("run in a user namespace (this test needs root): %v\n%s", err, out)
	}
	return string(out)
}

// TestOwnershipAsTheGuestSeesIt is gotcha 1 with real ids: files of the host
// looked at from a user namespace.
func TestOwnershipAsTheGuestSeesIt(t *testing.T) {
	const base = 200000
	for _, test := range []struct {
		name           string
		uid, gid       int
		dirMode, mode  os.FileMode
		wants          []string
		dirUID, dirGID int
	}{
		{
			name: "host root and private", mode: 0o600, dirMode: 0o755,
			wants: []string{
				"exit 3", "permission denied", "belongs to nobody (65534:65534", "mode 0600",
				"chown root:200000 HOSTDIR HOSTDIR/bootstrap.json && chmod 0750 HOSTDIR && chmod 0640 HOSTDIR/bootstrap.json",
				"chown 200000:200000 HOSTDIR", "200000 is the first host id of this guest's map",
			},
		},
		{
			name: "directory that cannot be searched", mode: 0o600, dirMode: 0o700,
			wants: []string{"exit 3", "permission denied", "belongs to nobody", "mode 0700", "chown root:200000"},
		},
		{name: "mapped root", uid: base, gid: base, dirUID: base, dirGID: base, mode: 0o600, dirMode: 0o700, wants: []string{"exit 0", "warnings []"}},
		{name: "host root with the guest's group", gid: base, dirGID: base, mode: 0o640, dirMode: 0o750, wants: []string{"exit 0", "warnings []"}},
		{name: "world-readable", mode: 0o644, dirMode: 0o755, wants: []string{"exit 0", "every user of this guest can read"}},
		{name: "another user of the guest", uid: base + 1000, gid: base, mode: 0o640, dirMode: 0o755, wants: []string{"exit 0", "belongs to 1000:0"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "mount")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			file := filepath.Join(dir, ConfigFile)
			if err := os.WriteFile(file, []byte(valid), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chown(file, test.uid, test.gid), os.Chmod(file, test.mode),
				os.Chown(dir, test.dirUID, test.dirGID), os.Chmod(dir, test.dirMode)); err != nil {
				t.Fatal(err)
			}
			got := inGuest(t, file, base)
			if test.name == "host root and private" {
				commandtest.WantQuoted(t, "../../..", "### 1. The guest cannot read its mount", strings.ReplaceAll(got, dir, MountDir))
			}
			for _, w := range test.wants {
				if !strings.Contains(got, w) {
					t.Errorf("it does not say %q:\n%s", w, got)
				}
			}
		})
	}
}

func TestMappedRoot(t *testing.T) {
	for _, test := range []struct {
		text string
		want uint32
	}{
		{"         0          0 4294967295\n", 0},
		{"         0     100000      65536\n", 100000},
		{"      1000       1000          1\n         0     165536      1000\n", 165536},
		{"", 0},
	} {
		if got := mappedRoot(test.text); got != test.want {
			t.Errorf("mappedRoot(%q) = %d, want %d", test.text, got, test.want)
		}
	}
}
