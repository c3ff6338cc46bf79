package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
)

func quoted(text string) string {
	data, _ := json.Marshal(text) // a string can be encoded
	return string(data)
}

// fakedFault is a fault that a real engine cannot be made to have at will, with
// the words of real ones.
type fakedFault struct {
	name  string // of the catalogue
	front front
	want  wantFault
}

func imageFault(code, tries int, hint string, words ...string) wantFault {
	return wantFault{step: contract.StepImage, code: code, tries: tries, hint: hint, words: words}
}

func containerFault(code int, hint string, words ...string) wantFault {
	return wantFault{step: contract.StepContainer, code: code, hint: hint, words: words}
}

// fakedFaults has a row for each dialect: engines up to 28, and the 29 line.
func fakedFaults() []fakedFault {
	const (
		hintName     = "check the name of the registry in controller_image"
		hintServer   = "this guest has no working name server"
		hintDisk     = "free space in the guest"
		hintBridge   = "systemctl restart docker.service"
		hintAppArmor = "AppArmor of the host"
		bridge       = "failed to create endpoint X on network bridge: adding interface veth0 to bridge docker0 failed: could not find bridge docker0: route ip+net: no such network interface"
		appArmor     = "OCI runtime create failed: open sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied"
	)
	return []fakedFault{
		{"no such host", pullFails(false, `Get "https://H/v2/": dial tcp: lookup H on 192.0.2.53:53: no such host`), imageFault(5, 3, hintName, "no such host")},
		{"no such host", pullFails(true, `failed to do request: Head "https://H/v2/": dial tcp: lookup H on 192.0.2.53:53: no such host`), imageFault(5, 3, hintName, "no such host")},
		{"name server silent", pullFails(false, `Get "https://H/v2/": dial tcp: lookup H on 192.0.2.53:53: read udp 192.0.2.2:4->192.0.2.53:53: i/o timeout`), imageFault(5, 0, hintServer, "i/o timeout")},
		{"silent registry", pullFails(false, `Get "https://H/v2/": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)`), imageFault(5, 0, hintUnreachable, "Client.Timeout exceeded")},
		{"silent registry", pullFails(true, `failed to do request: Head "https://H/v2/": net/http: timeout awaiting response headers`), imageFault(5, 0, hintUnreachable, "timeout awaiting")},
		{"truncated layer", pullFails(true, "unexpected EOF"), imageFault(5, 0, hintUnreachable, "unexpected EOF")},
		{"reset in a layer", pullFails(true, "read tcp 192.0.2.2:5->192.0.2.1:443: read: connection reset by peer"), imageFault(5, 0, hintUnreachable, "connection reset by peer")},
		{"disk full", pullFails(true, "failed to register layer: Error processing tar file(exit status 1): write /blob: no space left on device"), imageFault(1, 3, hintDisk, "no space left on device")},
		{"disk full", pullFails(true, "failed to extract layer sha256:0: write /x: no space left on device"), imageFault(1, 3, hintDisk, "no space left on device")},
		{"engine stopped during a pull", pullFails(true, "failed to copy: failed to send write: EOF"), imageFault(5, 0, hintEngine, "EOF")},
		{"engine stopped during a pull", cutPull, imageFault(5, 0, hintEngine, "EOF")},
		{"name taken", containerFails("/containers/create", 409, `Conflict. The container name "/felhom-controller" is already in use by container "ID". You have to remove (or rename) that container to be able to reuse that name.`), containerFault(3, "rename or remove that container", "already in use")},
		{"port taken", containerFails("/start", 500, "driver failed programming external connectivity on endpoint X (ID): Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use"), containerFault(5, "find who holds the port", "address already in use")},
		{"port taken", containerFails("/start", 500, "failed to set up container networking: driver failed programming external connectivity on endpoint X (ID): failed to bind host port 0.0.0.0:8080/tcp: address already in use"), containerFault(5, "find who holds the port", "address already in use")},
		{"bridge vanished", containerFails("/start", 500, bridge), containerFault(5, hintBridge, "could not find bridge")},
		{"AppArmor", containerFails("/start", 500, appArmor), containerFault(1, hintAppArmor, "ip_unprivileged_port_start")},
		{"unknown text", pullFails(false, "the moon is full"), imageFault(1, 3, "does not know these words", "the moon is full")},
		{"unknown text", pullFails(true, "the moon is full"), imageFault(1, 3, "does not know these words", "the moon is full")},
		{"API version", pings("1.30"), wantFault{step: contract.StepEngine, code: 1, hint: "no API version in common", words: []string{"API 1.30, want 1.41 or later"}}},
		{"API version", containerFails("/containers/create", 400, "client version 1.51 is too new. Maximum supported API version is 1.49"), containerFault(1, "no API version in common", "is too new")},
	}
}

// cutPull ends the connection in the middle of a message, as an engine that is killed.
func cutPull(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, "/images/create") {
		return false
	}
	_, _ = io.WriteString(w, `{"status":"Downloading","progressDetail":{"current":512,"total":1024},"id":"aa"}`+"\n"+`{"status":`)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// pings answers as an engine with that API.
func pings(api string) front {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/_ping") {
			return false
		}
		w.Header().Set("Api-Version", api)
		_, _ = io.WriteString(w, "OK")
		return true
	}
}

// fakedGuest is a guest on a fake engine that has one image.
func fakedGuest(t *testing.T) (*guest, *dockertest.Engine) {
	t.Helper()
	engine := dockertest.Start(t)
	engine.Push("reg.example/c:v1")
	g := newGuest(t, t.TempDir(), engine.Host)
	g.set("controller_image", "reg.example/c:v1")
	return g, engine
}

// TestFaultsOfAFakeEngine has a fake engine give the answers of real ones.
func TestFaultsOfAFakeEngine(t *testing.T) {
	for _, f := range fakedFaults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			g, engine := fakedGuest(t)
			g.dockerHost = f.front.start(t, engine)
			patience := "2s"
			if f.want.tries != 0 {
				patience = "1m" // the tries are counted
			}
			g.assertFault(f.want, "--pull-patience", patience)
			if id, _, status := engine.Container("felhom-controller"); id != "" {
				t.Errorf("a container was left behind: %s", status)
			}
		})
	}
}

// engineFaults are those of an engine that cannot be asked.
var engineFaults = []struct {
	name string // of the catalogue
	host func(t *testing.T) string
	want wantFault
}{
	{"no engine", func(t *testing.T) string { return "unix://" + filepath.Join(t.TempDir(), "none.sock") }, wantFault{step: contract.StepEngine, code: 5, hint: hintEngine, words: []string{"after 2s"}}},
	{"no engine", func(t *testing.T) string { // the socket of an engine that was killed
		name := filepath.Join(t.TempDir(), "stale.sock")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return "unix://" + name
	}, wantFault{step: contract.StepEngine, code: 5, hint: hintEngine, words: []string{"after 2s"}}},
	{"hung engine", func(t *testing.T) string {
		name := filepath.Join(t.TempDir(), "hung.sock")
		l, err := net.Listen("unix", name) // the kernel accepts, and no process reads
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return "unix://" + name
	}, wantFault{step: contract.StepEngine, code: 5, hint: hintEngine, words: []string{"after 2s"}}},
}

func TestFaultsOfAnEngineThatCannotBeAsked(t *testing.T) {
	for _, f := range engineFaults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			g, _ := fakedGuest(t)
			g.dockerHost = f.host(t)
			g.assertFault(f.want, "--engine-wait", "2s")
		})
	}
}

// TestFaultInvalidReference is the one that the engine is never asked about.
func TestFaultInvalidReference(t *testing.T) {
	g, _ := fakedGuest(t)
	g.set("controller_image", "reg.example/Upper:1")
	g.assertFault(wantFault{step: contract.StepMount, untold: true, code: 3, hint: "correct the file on the host", words: []string{"controller_image", "upper-case"}})
}

// TestFaultEngineOfAnotherUser runs the program as a user who may not use the socket.
func TestFaultEngineOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("needs root, to run the program as another user")
	}
	const otherUser = 65534
	dir, err := os.MkdirTemp("", "felhom-user-") // not t.TempDir, which only its owner can enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	engine := dockertest.StartAt(t, filepath.Join(dir, "e.sock"))
	g := newGuest(t, filepath.Join(dir, "root"), engine.Host)
	g.set("controller_image", "reg.example/c:v1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, program) // TestMain knows the program by its name
	if err := os.WriteFile(binary, data, 0o755); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(g.root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, otherUser, otherUser)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(strings.TrimPrefix(g.dockerHost, "unix://"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "apply", "--root", g.root, "--docker-host", g.dockerHost, "--engine-wait", "1m")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUser, Gid: otherUser}}
	said, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	want := wantFault{step: contract.StepEngine, code: 1, hint: "run as root", words: []string{"permission denied"}}
	r, err := record.Read(filepath.Join(g.root, record.File))
	if code := cmd.ProcessState.ExitCode(); err != nil || code != want.code || r.ExitCode != want.code || r.Class != classes[want.code] {
		t.Fatalf("exit code %d, record %+v, %v, want %d:\n%s", code, r, err, want.code, said)
	}
	assertTold(t, "the record", want, r.Message, r.Hint)
	g.assertReported(want)
}
