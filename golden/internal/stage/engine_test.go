package stage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/golden/internal/enter/entertest"
	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/internal/fault"
)

const engineUnit = `[Service]
EnvironmentFile=-/etc/default/docker
ExecStart=/usr/sbin/dockerd -H fd:// \
  --containerd=/run/c.sock $DOCKER_OPTS
`

// engineRoot is a root whose dockerd says how it was called.
func engineRoot(t *testing.T) string {
	t.Helper()
	root := entertest.Root(t, "cat", "touch")
	for name, text := range map[string]string{
		"usr/lib/systemd/system/docker.service": engineUnit,
		"etc/default/docker":                    "# DOCKER_OPTS=\"--no\"\nDOCKER_OPTS=\"--debug --mtu 1400\"\n",
		"usr/sbin/dockerd":                      "#!/bin/sh\ntouch /left-behind\ncat /run/daemon.json >&2\necho \"args: $*\" >&2\nexit 1\n",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestEngineCommandLine(t *testing.T) {
	root := engineRoot(t)
	for _, tt := range []struct {
		name    string
		overlay []overlay.File
		want    string
	}{
		{"unit and default file", nil, "/usr/sbin/dockerd -H fd:// --containerd=/run/c.sock --debug --mtu 1400"},
		{"drop-in", []overlay.File{{Path: "etc/systemd/system/docker.service.d/x.conf", Data: []byte("[Service]\nEnvironment=\"A=1 2\"\nExecStart=\nExecStart=-/usr/sbin/dockerd --label ${A}\n")}}, "/usr/sbin/dockerd --label 1 2"},
		{"default file of the recipe", []overlay.File{{Path: "etc/default/docker", Data: []byte("DOCKER_OPTS='-D'\n")}}, "/usr/sbin/dockerd -H fd:// --containerd=/run/c.sock -D"},
		{"continued line of a default file", []overlay.File{{Path: "etc/default/docker", Data: []byte("DOCKER_OPTS=\"-D \\\n--mtu 1400\"\n")}}, "/usr/sbin/dockerd -H fd:// --containerd=/run/c.sock -D --mtu 1400"},
		{"long list of hosts", []overlay.File{dropIn("Environment=NO_PROXY=" + strings.Repeat("host.example,", 300) + "\n")}, "/usr/sbin/dockerd -H fd:// --containerd=/run/c.sock --debug --mtu 1400"},
		{"another program", []overlay.File{{Path: "etc/systemd/system/docker.service", Data: []byte("[Service]\nExecStart=/bin/other\n")}}, ""},
		{"masked", []overlay.File{{Path: "etc/systemd/system/docker.service", Mode: os.ModeSymlink, Link: "/dev/null"}}, "/usr/sbin/dockerd -H fd:// --containerd=/run/c.sock --debug --mtu 1400"},
		{"as systemd expands it", []overlay.File{dropIn("Environment=A=1\nEnvironment=\"O=--x 'y z'\"\nExecStart=\nExecStart=:@/usr/sbin/dockerd shown $A\nExecStart=/usr/sbin/dockerd --a=$A $$A ${A}${A} ${ $O $NONE ${NONE}|\n")}, "/usr/sbin/dockerd --a=$A $A 11 ${ --x y z |"},
		{"not expanded", []overlay.File{dropIn("ExecStart=\nExecStart=:@/usr/sbin/dockerd shown $A\n")}, "/usr/sbin/dockerd $A"},
		{"other sections and comments", []overlay.File{dropIn("#ExecStart=/bin/a\n[Unit]\nExecStart=/bin/other\n")}, "/usr/sbin/dockerd -H fd:// --containerd=/run/c.sock --debug --mtu 1400"},
		{"files win over Environment", []overlay.File{dropIn("Environment=DOCKER_OPTS=-x\n")}, "/usr/sbin/dockerd -H fd:// --containerd=/run/c.sock --debug --mtu 1400"},
	} {
		got, err := merged{root: root, overlay: tt.overlay}.engine()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.name, diff)
		}
	}
}

// dropIn is a drop-in of the engine's unit with lines of its section Service.
func dropIn(lines string) overlay.File {
	return overlay.File{Path: unitDir + "/docker.service.d/x.conf", Data: []byte("[Service]\n" + lines)}
}

// A drop-in that cannot be read is named.
func TestEngineUnitThatIsWrong(t *testing.T) {
	root := engineRoot(t)
	for _, text := range []string{"ExecStart\n", "[Unit] x\n"} {
		_, err := merged{root: root, overlay: []overlay.File{dropIn(text)}}.engine()
		if fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "docker.service.d/x.conf") || fault.HintOf(err) == "" {
			t.Errorf("%q: error %v, want an invalid file that is named, and a hint", text, err)
		}
	}
}

// A few bytes of a unit can stand for many of a command line.
func TestEngineCommandLineIsBounded(t *testing.T) {
	lines := func(text string, n int) string { return strings.Repeat(text+"\\\n", n) + "\n" }
	file := func(text string) overlay.File { return overlay.File{Path: "etc/default/docker", Data: []byte(text)} }
	var many []overlay.File
	for i := range 5 {
		many = append(many, overlay.File{Path: fmt.Sprintf("%s/docker.service.d/%d.conf", unitDir, i), Data: []byte(strings.Repeat("#\n", maxUnit/2))})
	}
	for _, tt := range []struct {
		name string
		with []overlay.File
	}{
		{"words", []overlay.File{file("A=" + strings.Repeat("b ", 3000)), dropIn("ExecStart=\nExecStart=/usr/sbin/dockerd " + lines("$A ", 3000))}},
		{"bytes", []overlay.File{file("A=" + strings.Repeat("b", 300_000)), dropIn("ExecStart=\nExecStart=/usr/sbin/dockerd " + lines("${A} ", 3000))}},
		{"bytes of one word", []overlay.File{file("A=" + strings.Repeat("b", 3000)), dropIn("ExecStart=\nExecStart=/usr/sbin/dockerd '" + strings.Repeat(strings.Repeat("${A}", 100)+"\\\n", 300) + "'\n")}},
		{"files of variables", []overlay.File{file(strings.Repeat("A=b\n", 4000)), dropIn(strings.Repeat("EnvironmentFile=/etc/default/docker\n", 200))}},
		{"a file of variables", []overlay.File{file(strings.Repeat("A=b\n", maxUnit/4+1))}},
		{"the unit", []overlay.File{{Path: unitDir + "/docker.service", Data: []byte(engineUnit + strings.Repeat("#\n", maxUnit/2))}}},
		{"drop-ins", many},
	} {
		root := t.TempDir()
		path := filepath.Join(root, vendorUnits, dockerUnit)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(engineUnit), 0o644)); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := merged{root: root, overlay: tt.with}.engine()
		runtime.ReadMemStats(&after)
		if fault.Of(err) != fault.Invalid || got != nil || !strings.Contains(err.Error(), "more than") && !strings.Contains(err.Error(), "the limit of") {
			t.Errorf("%s: want it refused as too large, got %d words, %v", tt.name, len(got), err)
		}
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 100 {
			t.Errorf("%s: %d MiB were allocated", tt.name, took)
		}
	}
}

// Drop-ins of the root count wherever the cache is.
func TestEngineCommandLineInAnyCache(t *testing.T) {
	for _, name := range []string{"plain", "a[1]", "b*?\\"} {
		root := filepath.Join(t.TempDir(), name)
		for file, text := range map[string]string{
			vendorUnits + "/docker.service":      engineUnit,
			unitDir + "/docker.service.d/x.conf": "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd --debug\n",
		} {
			path := filepath.Join(root, file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		m := merged{root: root}
		if got, err := m.engine(); err != nil || strings.Join(got, " ") != "/usr/sbin/dockerd --debug" || !m.touchesEngine() {
			t.Errorf("%s: got %q, %v, changed: %v", name, got, err, m.touchesEngine())
		}
	}
}

func TestCheckEngineRunsTheImagesOwn(t *testing.T) {
	root := engineRoot(t)
	settings := []overlay.File{{Path: daemonJSON, Data: []byte(`{"log-driver":"local"}`)}}
	err := (&Plan{}).CheckEngine(t.Context(), root, settings)
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Invalid {
		t.Fatalf("%v, want refused", err)
	}
	if want := "args: --validate -H fd:// --containerd=/run/c.sock --debug --mtu 1400 --config-file=/run/daemon.json"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q in it", err, want)
	}
	if _, err := os.Lstat(filepath.Join(root, "left-behind")); err == nil {
		t.Error("validating changed the root")
	}
	if err := os.WriteFile(filepath.Join(root, "usr/sbin/dockerd"), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	unbounded := []overlay.File{{Path: daemonJSON, Data: []byte("{}")}}
	if err := (&Plan{}).CheckEngine(t.Context(), root, unbounded); fault.Of(err) != fault.Invalid || !strings.Contains(err.Error(), "without log-opts max-size") {
		t.Errorf("logs without a limit: %v, want refused", err)
	}
	if err := (&Plan{}).CheckEngine(t.Context(), root, settings); err != nil {
		t.Errorf("settings that dockerd takes: %v", err)
	}
	if err := (&Plan{}).CheckEngine(t.Context(), t.TempDir(), settings); err != nil {
		t.Errorf("root without dockerd: %v", err)
	}
}

// Docker before 23, which is bookworm's, has no --validate.
func TestCheckEngineOfAnOldDocker(t *testing.T) {
	const unknown = "#!/bin/sh\ncase \" $* \" in *' --validate '*) printf \"Status: unknown flag: --validate\\nSee 'dockerd --help'., Code: 125\\n\" >&2; exit 125;; esac\ncase \"$*\" in *fd://*) ;; *) echo 'no fd' >&2; exit 1;; esac\n"
	settings := []overlay.File{{Path: daemonJSON, Data: []byte(`{"log-driver":"local"}`)}}
	root := engineRoot(t)
	for _, tt := range []struct{ name, rest, want string }{
		{"good", "echo 'failed to load listeners: no sockets found via socket activation: make sure the service was started by systemd' >&2; exit 1", ""},
		{"wrong settings", "echo 'unable to configure the Docker daemon with file /run/daemon.json: no such directive: x' >&2; exit 1", "unable to configure the Docker daemon: no such directive: x"},
		{"wrong flag", "printf \"Status: unknown flag: --no\\nSee 'dockerd --help'., Code: 125\\n\" >&2; exit 125", "unknown flag: --no"},
	} {
		if err := os.WriteFile(filepath.Join(root, "usr/sbin/dockerd"), []byte(unknown+tt.rest+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		err := (&Plan{}).CheckEngine(t.Context(), root, settings)
		if tt.want == "" && err != nil || tt.want != "" && (fault.Of(err) != fault.Invalid || !strings.HasSuffix(err.Error(), ": "+tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
