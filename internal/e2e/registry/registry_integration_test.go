//go:build integration

package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/freeport"
)

const (
	controller = "felhom-controller"
	certs      = "/etc/docker/certs.d"
)

// scene is a private registry, a host that has its credential, and a guest in a
// directory that pulls with the bed's engine.
type scene struct {
	*upstream
	bed      testbed.Bed
	programs string
	dir      string // of the host
	root     string // of the guest
	agent    string // ADDRESS:PORT of the local API
	vmid     string
	daemon   *testbed.Daemon
}

func newScene(t testing.TB, withTokens bool) *scene {
	t.Helper()
	bed := testbed.FromEnv(t)
	bed.Lock(t)
	id := bed.TestID(t)
	for _, container := range []string{controller, controller + "-next", controller + "-previous"} {
		bed.RemoveAfter(t, container)
	}
	s := &scene{bed: bed, dir: t.TempDir(), root: filepath.Join(bed.Dir, id), agent: freeport.Address(t, bed.Address), vmid: strconv.Itoa(testbed.VMIDs(t, 1)[0])}
	s.programs = build(t)
	s.upstream = startUpstream(t, bed, t.TempDir(), withTokens)
	t.Cleanup(func() {
		engine := bed.Engine(t)
		for _, host := range []string{s.host, s.agent} {
			if err := engine.RemoveImage(context.Background(), host+"/"+repository+":v1"); err != nil && !strings.Contains(err.Error(), "No such image") {
				t.Log(err)
			}
		}
	})
	s.startHost(t)
	for _, dir := range []string{"etc/felhom-bootstrap", "etc/felhom", "etc/docker/certs.d", "run"} {
		if err := os.MkdirAll(filepath.Join(s.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.RemoveAll(s.root) }) // below the bed's own directory
	write(t, filepath.Join(s.root, "etc/felhom/controller-container.yaml"), fmt.Sprintf("ports: [%q]\n", freeport.Address(t, bed.Address)+":8080"))
	// The engine looks into the machine's certs.d, the guest writes into its own.
	for _, host := range []string{s.host, s.agent} {
		link := filepath.Join(certs, host)
		if err := os.MkdirAll(certs, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(s.root, certs, host), link); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(link) }) // our own link
	}
	return s
}

// build returns the directory of the programs.
func build(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for program, source := range map[string]string{"felhom-agentd": "agentd", "felhom-controller-bootstrap": "bootstrapper"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, program), "github.com/felhom/felhom-golden/"+source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return dir
}

func (s *scene) startHost(t testing.TB) {
	t.Helper()
	tokenHosts := ""
	if s.tokenHost != "" {
		tokenHosts = fmt.Sprintf(", token_hosts: [%q]", s.tokenHost)
	}
	write(t, filepath.Join(s.dir, "agentd.yaml"), fmt.Sprintf(`host_id: demo
hub_url: https://hub.example
listen: [%q]
controller_image: %s
registry_access: proxy
registry: {host: %q, username: %s, token_file: %s, ca_file: %s}
cache: {dir: %[7]s/blobs, size: 1GiB}
state_dir: %[7]s/state
mounts_dir: %[7]s/mounts
health_socket: %[7]s/h.sock
`, s.agent, s.host+"/"+repository+":v1", s.host, puller, s.secret, s.ca+tokenHosts, s.dir))
	s.startDaemon(t)
	s.agentd(t, "guest", "add", s.vmid)
}

func (s *scene) startDaemon(t testing.TB) {
	t.Helper()
	var err error
	s.daemon, err = testbed.StartDaemon("felhom-agentd", exec.Command(filepath.Join(s.programs, "felhom-agentd"), "--config", filepath.Join(s.dir, "agentd.yaml"), "serve", "--log-level", "debug"), filepath.Join(s.dir, "agentd.log"))
	if err != nil {
		t.Fatal(err)
	}
	d := s.daemon
	t.Cleanup(func() { _ = d.StopAnyway() }) // a test may have stopped it
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := d.Wait(ctx, host.Healthy(filepath.Join(s.dir, "h.sock"))); err != nil {
		t.Fatal(err)
	}
}

func (s *scene) agentd(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.programs, "felhom-agentd"), append([]string{"--config", filepath.Join(s.dir, "agentd.yaml")}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("felhom-agentd %v: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

// apply runs the bootstrapper in the guest's directory, with the mount as the
// guest sees it.
func (s *scene) apply(t testing.TB) (output string, err error) {
	t.Helper()
	defer s.attach(t)()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.programs, "felhom-controller-bootstrap"), "--root", s.root, "--docker-host", s.bed.DockerHost, "apply", "--pull-patience", "30s")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// attach mounts the guest's config mount as the guest sees it, until undo is called.
func (s *scene) attach(t testing.TB) (undo func()) {
	t.Helper()
	mount := filepath.Join(s.root, "etc/felhom-bootstrap")
	if err := unix.Mount(filepath.Join(s.dir, "mounts", s.vmid), mount, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
}

// wantNoCredential scans what the guest and the engine have.
func (s *scene) wantNoCredential(t *testing.T, output string) {
	t.Helper()
	_, raw, err := s.bed.Engine(t).ContainerInspectWithRaw(t.Context(), controller, false)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(s.dir, "agentd.log"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := guest.Secrets{"the registry's password": s.password}
	for what, text := range map[string]string{"docker inspect": string(raw), "the bootstrapper's output": output, "the host's log": string(log)} {
		if held := secrets.In([]byte(text)); len(held) > 0 {
			t.Errorf("%s holds %s", what, held)
		}
	}
	for _, dir := range []string{s.root, filepath.Join(s.dir, "mounts")} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			data, err := os.ReadFile(path)
			if len(secrets.In(data)) > 0 || bytes.Contains(data, []byte(puller)) {
				t.Errorf("%s holds the registry's credential", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestGuestPullsThroughTheHost(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		withTokens bool
	}{{"password", "password", false}, {"token server", "token", true}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, tt.withTokens)
			if out := s.agentd(t, "registry", "check"); !strings.Contains(out, tt.says) {
				t.Errorf("registry check: %s", out)
			}
			out, err := s.apply(t)
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, s.daemon.Tail())
			}
			c, err := s.bed.Engine(t).ContainerInspect(t.Context(), controller)
			if err != nil || c.State.Health == nil || c.State.Health.Status != "healthy" {
				t.Fatalf("%+v, %v, want a healthy controller\n%s", c.State, err, out)
			}
			if want := s.host + "/" + repository + ":v1"; c.Config.Image != want {
				t.Errorf("the controller runs %s, want the original name %s", c.Config.Image, want)
			}
			s.wantNoCredential(t, out)
			if log, err := os.ReadFile(filepath.Join(s.dir, "agentd.log")); err != nil || !bytes.Contains(log, []byte(`"msg":"pull"`)) {
				t.Errorf("no audit line: %v\n%s", err, log)
			}
			// Nothing changes the second time, and nothing is pulled.
			if out, err := s.apply(t); err != nil {
				t.Errorf("again: %v\n%s", err, out)
			}
			s.wantUnchanged(t)
			s.rotate(t)
		})
	}
}

// wantUnchanged wants the last run to have changed no step.
func (s *scene) wantUnchanged(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.root, "var/lib/felhom/bootstrap-result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Steps []struct{ Step, Result string }
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	for _, step := range r.Steps {
		if step.Step == "image" && step.Result != "unchanged" {
			t.Errorf("the image step of the second run: %s", step.Result)
		}
	}
}

// rotate gives the guest a new token and the host a new key, with another
// certificate; a new pull needs nothing else, no restart of the engine either.
func (s *scene) rotate(t *testing.T) {
	t.Helper()
	engine := s.bed.Engine(t)
	if err := engine.Remove(t.Context(), controller); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{s.host, s.agent} {
		_ = engine.RemoveImage(t.Context(), host+"/"+repository+":v1") // one of them has it
	}
	s.agentd(t, "guest", "add", s.vmid)
	s.agentd(t, "pin", "rotate")
	if out, err := s.apply(t); err != nil {
		t.Errorf("with a new token and key: %v\n%s\n%s", err, out, s.daemon.Tail())
	}
}
