package systemd

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"
)

const (
	bootstrap    = "felhom-controller-bootstrap.service"
	engineFailed = "felhom-engine-failed.service"
)

//go:embed felhom-agentd.service
var host embed.FS

// hostUnits returns the units of a host, which no program carries.
func hostUnits() fs.ReadDirFS { return unitFS{host} }

//go:embed felhom-guest.preset
var preset []byte

func read(t *testing.T, files fs.FS, name string) []*unit.UnitOption {
	t.Helper()
	f, err := files.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	options, err := unit.DeserializeOptions(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return options
}

func values(options []*unit.UnitOption, section, name string) []string {
	var out []string
	for _, o := range options {
		if o.Section == section && o.Name == name {
			out = append(out, strings.Fields(o.Value)...)
		}
	}
	return out
}

// list returns the names of all files.
func list(t *testing.T, files fs.FS) []string {
	t.Helper()
	var names []string
	if err := fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, name)
		}
		return err
	}); err != nil || len(names) == 0 {
		t.Fatalf("no units: %v", err)
	}
	return names
}

// TestVerify has systemd itself read the units, as a guest and a host would.
func TestVerify(t *testing.T) {
	version, err := exec.Command("systemd-analyze", "--version").Output()
	if err != nil {
		t.Fatalf("this test needs systemd-analyze (package systemd): %v", err)
	}
	var number int
	if _, err := fmt.Sscanf(string(version), "systemd %d", &number); err != nil {
		t.Fatalf("systemd-analyze --version gives %q", version)
	}
	old := number < 254
	for name, files := range map[string]fs.FS{"guest": Guest(), "host": hostUnits()} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "usr/lib/systemd/system")
			for _, d := range []string{dir, filepath.Join(root, "usr/sbin"), filepath.Join(root, "usr/bin"), filepath.Join(root, "etc")} {
				if err := os.MkdirAll(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, program := range []string{"sbin/felhom-controller-bootstrap", "sbin/felhom-agentd", "bin/journalctl", "bin/rm", "bin/mkdir", "bin/ln", "bin/sh", "sbin/agetty"} {
				if err := os.WriteFile(filepath.Join(root, "usr", program), []byte("#!/bin/true\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			// Stubs for what a guest or host brings along.
			for _, stub := range []string{
				"docker.service", "docker.socket", "network-online.target", "multi-user.target", "sysinit.target", "basic.target", "paths.target",
				"shutdown.target", "local-fs.target", "local-fs-pre.target", "umount.target", "pve-cluster.service", "pve-guests.service",
			} {
				text := "[Unit]\nDescription=stub\n"
				if strings.HasSuffix(stub, ".socket") {
					text += "[Socket]\nListenStream=/run/docker.sock\n"
				}
				if strings.HasSuffix(stub, ".service") {
					text += "[Service]\nExecStart=/usr/sbin/felhom-agentd\n"
				}
				if err := os.WriteFile(filepath.Join(dir, stub), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			names := list(t, files)
			args := []string{"verify", "--recursive-errors=yes", "--man=no", "--root=" + root}
			for _, name := range names {
				data, err := fs.ReadFile(files, name)
				if err != nil {
					t.Fatal(err)
				}
				if old { // the unit says what 252 on Debian 12 does without them
					data = regexp.MustCompile(`(?m)^Restart(Steps|MaxDelaySec)=.*\n`).ReplaceAll(data, nil)
				}
				at := filepath.Join(dir, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, data, 0o644)); err != nil {
					t.Fatal(err)
				}
				if unit, isDropIn := strings.CutSuffix(filepath.Dir(name), ".d"); isDropIn {
					name = unit
				}
				args = append(args, name)
			}
			out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
			if text := strings.TrimSpace(string(out)); err != nil || text != "" {
				t.Errorf("systemd-analyze verify: %v\n%s", err, text)
			}
		})
	}
}

// TestExitCodesStopTheRightRetries holds the unit against docs/exit-codes.md:
// what no later try can change is not retried, not ready is.
func TestExitCodesStopTheRightRetries(t *testing.T) {
	got := values(read(t, Guest(), bootstrap), "Service", "RestartPreventExitStatus")
	if want := []string{"2", "3", "4"}; !slices.Equal(got, want) {
		t.Errorf("RestartPreventExitStatus=%v, want %v", got, want)
	}
}

// TestTriggers holds what facts of hotplug demand, each a trap of its own.
func TestTriggers(t *testing.T) {
	service := read(t, Guest(), bootstrap)
	if got := values(service, "Service", "RemainAfterExit"); len(got) != 0 {
		t.Errorf("RemainAfterExit=%v: a rewritten file would not start the service again", got)
	}
	if got := values(service, "Install", "WantedBy"); !slices.Equal(got, []string{"multi-user.target"}) {
		t.Errorf("WantedBy=%v, want multi-user.target", got)
	}
	const mountName, pathName = `etc-felhom\x2dbootstrap.mount`, "felhom-controller-bootstrap.path"
	mount := read(t, Guest(), mountName)
	if got := values(mount, "Unit", "ConditionPathExists"); !slices.Equal(got, []string{"!/"}) {
		t.Errorf("the mount's condition is %v, want one that is never true", got)
	}
	if !slices.Contains(values(mount, "Unit", "Wants"), pathName) {
		t.Error("the mount must want the watch as well: both starts are then in one queue, the watch first")
	}
	if !slices.Contains(values(mount, "Unit", "Upholds"), pathName) || !slices.Contains(values(mount, "Unit", "Wants"), bootstrap) {
		t.Error("the mount must uphold the watch and want the service, or a hotplug starts nothing")
	}
	path := read(t, Guest(), pathName)
	if got := values(path, "Path", "PathExists"); len(got) != 0 {
		t.Errorf("PathExists=%v starts a failing service over and over", got)
	}
	for name, file := range map[string]string{
		pathName: "/etc/felhom-bootstrap/bootstrap.json", "felhom-controller-bootstrap-template.path": "/etc/felhom-bootstrap/controller.yaml.tmpl",
	} {
		watch := read(t, Guest(), name)
		if got := values(watch, "Path", "PathChanged"); !slices.Equal(got, []string{file}) {
			t.Errorf("%s watches %v, want %s alone: with two files in a unit, changes are lost", name, got, file)
		}
		if !slices.Contains(values(watch, "Unit", "BindsTo"), mountName) || !slices.Contains(values(mount, "Unit", "Upholds"), name) {
			t.Errorf("%s must come and end with its mount", name)
		}
		if !slices.Contains(values(service, "Unit", "After"), name) {
			t.Errorf("%s must be there before the file is read", name)
		}
	}
}

// TestPresetEnablesWhatCanBeEnabled names exactly the units with [Install].
func TestPresetEnablesWhatCanBeEnabled(t *testing.T) {
	for _, name := range list(t, Guest()) {
		installable := len(values(read(t, Guest(), name), "Install", "WantedBy")) > 0
		if enabled := strings.Contains(string(preset), "enable "+name+"\n"); enabled != installable {
			t.Errorf("%s: in the preset %v, has [Install] %v", name, enabled, installable)
		}
	}
}

// TestGuestIsAFileSystem: every unit is listed, read and named under its own
// name. fstest.TestFS refuses any name with a backslash, so not by that.
func TestGuestIsAFileSystem(t *testing.T) {
	var names []string
	err := fs.WalkDir(Guest(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		names = append(names, path)
		if data, err := fs.ReadFile(Guest(), path); err != nil || len(data) == 0 {
			t.Errorf("read %s: %d bytes, %v", path, len(data), err)
		}
		info, err := fs.Stat(Guest(), path)
		if err != nil || info.Name() != filepath.Base(path) {
			t.Errorf("stat %s: %v, %v", path, info, err)
		}
		return nil
	})
	if want := []string{
		"docker.service.d/felhom.conf", MountUnit, "felhom-bootstrap-console.service", "felhom-controller-bootstrap-template.path", "felhom-controller-bootstrap.path", bootstrap, engineFailed,
	}; err != nil || !slices.Equal(names, want) {
		t.Errorf("units %q, %v, want %q", names, err, want)
	}
	if _, err := Guest().Open(mountFile); err == nil {
		t.Errorf("%s can be opened under the name that it has in the repository", mountFile)
	}
}

// hardening is the sandbox of each service, whole: a directive that is taken
// away, or weakened, is a difference.
var hardening = map[string]map[string]string{
	bootstrap: {
		"AmbientCapabilities": "", "CapabilityBoundingSet": "", "LimitCORE": "0", "ReadWritePaths": "/opt /run /etc/docker/certs.d",
		"RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
	},
	agentd: {
		"AmbientCapabilities": "", "CapabilityBoundingSet": "CAP_CHOWN CAP_DAC_READ_SEARCH CAP_SYS_PTRACE", "LimitCORE": "0",
		"PrivateMounts": "yes", "ReadWritePaths": "-/etc/pve/priv -/var/lib/felhom/mounts", "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
	},
}

// both is the part of the sandbox that the two services share.
var both = map[string]string{
	"LockPersonality": "yes", "MemoryDenyWriteExecute": "yes", "NoNewPrivileges": "yes", "PrivateDevices": "yes", "PrivateTmp": "yes",
	"ProtectClock": "yes", "ProtectControlGroups": "yes", "ProtectHome": "yes", "ProtectHostname": "yes", "ProtectKernelLogs": "yes",
	"ProtectKernelModules": "yes", "ProtectKernelTunables": "yes", "ProtectSystem": "strict", "RemoveIPC": "yes", "RestrictNamespaces": "yes",
	"RestrictRealtime": "yes", "RestrictSUIDSGID": "yes", "SystemCallArchitectures": "native", "SystemCallErrorNumber": "EPERM",
	"SystemCallFilter": "@system-service ~@privileged @resources @chown", "UMask": "0077",
}

const agentd = "felhom-agentd.service"

func sandbox(t *testing.T) {
	isHardening := regexp.MustCompile(`^(Ambient|Capability|Limit|Lock|Memory(Deny)|NoNew|Private|Protect|ReadWrite|Remove|Restrict(A|N|R|S)|SystemCall|UMask)`)
	for name, files := range map[string]fs.FS{bootstrap: Guest(), agentd: hostUnits()} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			for _, o := range read(t, files, name) {
				if o.Section == "Service" && isHardening.MatchString(o.Name) {
					got[o.Name] = strings.TrimSpace(got[o.Name] + " " + o.Value)
				}
			}
			want := maps.Clone(both)
			maps.Copy(want, hardening[name])
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// exposureLimits has systemd judge the two services. The limits are what it says
// of them today, in tenths: what raises one wants a reason.
func exposureLimits(t *testing.T) {
	for _, test := range []struct {
		name  string
		files fs.FS
		limit int
	}{
		{bootstrap, Guest(), 21},
		{agentd, hostUnits(), 26},
	} {
		t.Run(test.name, func(t *testing.T) {
			text, err := fs.ReadFile(test.files, test.name)
			if err != nil {
				t.Fatal(err)
			}
			if got := exposure(t, test.name, text); got > test.limit {
				t.Errorf("exposure %d, want at most %d", got, test.limit)
			}
			// Without one weighty line it must say more, or nothing is measured.
			weaker := bytes.Replace(text, []byte("ProtectSystem=strict\n"), nil, 1)
			if got := exposure(t, test.name, weaker); got <= test.limit {
				t.Errorf("without ProtectSystem= the exposure is %d all the same", got)
			}
		})
	}
}

// exposure returns what systemd-analyze security says, in tenths.
func exposure(t *testing.T, name string, text []byte) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", path)
	out, err := cmd.Output() // the figure decides, not the status
	found := regexp.MustCompile(`exposure level for \S+: (\d+)\.(\d)`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, out)
	}
	tenths, err := strconv.Atoi(string(found[1]) + string(found[2]))
	if err != nil {
		t.Fatal(err)
	}
	return tenths
}

// TestStartAndReadiness: what design and docs/bootstrapper.md say of the two.
func TestStartAndReadiness(t *testing.T) {
	guest, host := read(t, Guest(), bootstrap), read(t, hostUnits(), agentd)
	for _, test := range []struct {
		name, section, key string
		unit               []*unit.UnitOption
		want               []string
	}{
		{"guest is ready after its first try", "Service", "Type", guest, []string{"notify"}},
		{"guest tries by itself", "Service", "ExecStart", guest, []string{"/usr/sbin/felhom-controller-bootstrap", "apply", "--keep-trying"}},
		{"guest waits for the socket, not for dockerd nor a network", "Unit", "After", guest, []string{"felhom-controller-bootstrap.path", "felhom-controller-bootstrap-template.path", "docker.socket"}},
		{"guest has dockerd started, and the console told", "Unit", "Wants", guest, []string{"docker.service", "felhom-bootstrap-console.service"}},
		{"the console is told of a good end", "Unit", "OnSuccess", guest, []string{"felhom-bootstrap-console.service"}},
		{"the console is told of a failure", "Unit", "OnFailure", guest, []string{"felhom-bootstrap-console.service"}},
		{"a stop is not a failure", "Service", "SuccessExitStatus", guest, []string{"130"}},
		{"host is ready when it serves", "Service", "Type", host, []string{"notify"}},
		{"host is watched", "Service", "WatchdogSec", host, []string{"90s"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := values(test.unit, test.section, test.key); !slices.Equal(got, test.want) {
				t.Errorf("%s=%q, want %q", test.key, got, test.want)
			}
		})
	}
}
