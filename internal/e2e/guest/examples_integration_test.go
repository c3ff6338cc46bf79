//go:build integration

package guest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// TestExamples does with each directory of examples/ what its README says, up to
// the request for the guest's page. The bed's registry, bridge and addresses take
// the place of the placeholders, a small image that of the example's; it listens
// on 8080 alone. docker-ce is followed by internal/e2e/packages, where a stand-in of Docker's package archive answers.
func TestExamples(t *testing.T) {
	s := theStack(t)
	if err := testbed.Require(t.Context(), os.Stderr, "ssh", "ssh-keygen"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		tag   string
		port  string // of the host, as the example publishes it
		check func(t *testing.T, g guest.Guest, container testbed.Container)
	}{
		{"plain-web", "nohealth", "80", wantVolume("/usr/share/nginx/html")},
		{"portainer-agent", "v1", "9001", func(t *testing.T, g guest.Guest, c testbed.Container) {
			wantVolume("/var/run/docker.sock")(t, g, c)
			if env := strings.Join(c.Config.Env, "\n"); !strings.Contains(env, "AGENT_SECRET=sesame-of-the-test") {
				t.Error("the variable of env_file is not in the container")
			}
			if out := s.agentd(t, "guest", "show", strconv.Itoa(g.VMID)); strings.Contains(out, "sesame") || !strings.Contains(out, "AGENT_SECRET") {
				t.Errorf("guest show must name the secret variable and not show it:\n%s", out)
			}
		}},
		{"dockge-like", "v1", "5001", wantVolume("/app/data")},
		{"private-ca", "nohealth", "8080", nil},
		{"ssh-access", "nohealth", "8080", wantLogin},
	} {
		t.Run(c.name, func(t *testing.T) {
			vmid := testbed.VMIDs(t, 1)[0]
			e := s.example(t, c.name, c.tag, c.port, vmid)
			s.removeAfter(t, vmid)
			argv := testbed.WithSubIDs(filepath.Join(s.dir, "programs/felhom-agentd"), "--config", e.config, "provision", "--spec", e.spec)
			out := command(t, run.Cmd{Path: argv[0], Args: argv[1:], Stderr: os.Stderr})
			url := regexp.MustCompile(`http://\S+:` + c.port + "/").FindString(out)
			if url == "" {
				t.Fatalf("want a URL with port %s, got:\n%s", c.port, out)
			}
			wantAnswer(t, url)
			g := s.guest(vmid)
			container, err := engineOf(t, g).ContainerInspect(t.Context(), "felhom-controller")
			if err != nil {
				t.Fatal(err)
			}
			if c.check != nil {
				c.check(t, g, container)
			}
		})
	}
}

// example is one directory of examples/ with the bed's own names in it.
type example struct{ config, spec string }

// example copies the directory, puts the bed's names in, and bakes the golden image.
func (s *stack) example(t *testing.T, name, tag, port string, vmid int) example {
	t.Helper()
	dir := filepath.Join(s.dir, "example-"+name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("../../../examples", name))); err != nil {
		t.Fatal(err)
	}
	image, err := s.bed.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(file string, pairs ...string) string {
		path := filepath.Join(dir, file)
		text := readFile(t, path)
		for i := 0; i < len(pairs); i += 2 {
			re := regexp.MustCompile("(?m)" + pairs[i])
			if !re.MatchString(text) {
				t.Fatalf("%s: nothing fits %s", file, pairs[i])
			}
			text = re.ReplaceAllString(text, pairs[i+1])
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	recipe := filepath.Join(dir, "golden.yaml")
	switch name {
	case "private-ca": // what signs the bed's registry takes the place of the authority
		if err := os.WriteFile(filepath.Join(dir, "example-ca.crt"), []byte(readFile(t, s.bed.CAFile)), 0o600); err != nil {
			t.Fatal(err)
		}
	default: // felhom-golden has neither credential nor authority of the bed's registry
		archive := filepath.Join(dir, "image.tar")
		if err := s.bed.SaveImage(t.Context(), tag, archive); err != nil {
			t.Fatal(err)
		}
		edit("golden.yaml", "^  image: .*", "  image: "+image.Reference+"\n  archive: image.tar")
	}
	if name == "ssh-access" {
		key := filepath.Join(s.dir, "ssh-key")
		command(t, run.Cmd{Path: "ssh-keygen", Args: []string{"-q", "-t", "ed25519", "-N", "", "-f", key}})
		if err := os.WriteFile(filepath.Join(dir, "authorized_keys"), []byte(readFile(t, key+".pub")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	archive := strings.TrimSpace(command(t, run.Cmd{
		Path: filepath.Join(s.dir, "programs/felhom-golden"), Stderr: os.Stderr,
		Args: []string{"build", "--recipe", recipe, "--compression", "fast", "--out", dir},
	}))
	settings := fmt.Sprintf("state_dir: %[1]s/host/state\nmounts_dir: %[1]s/host/mounts\nhealth_socket: %[1]s/host/health.sock\nlxc: {path: %[2]s}\n", s.dir, s.bed.LXCPath())
	e := example{config: edit(
		"agentd.yaml", "^controller_image: .*", "controller_image: "+image.Reference, "^hypervisor: .*", "hypervisor: lxc", "^bridge: .*", "bridge: "+s.bed.Bridge,
		"^provision: .*", "provision: {golden: "+archive+"}\n"+settings,
	)}
	e.spec = edit(
		"guests.yaml", "vmid: .*", "vmid: "+strconv.Itoa(vmid), "    ip: .*", "    ip: "+s.address(t, 213).String(), "    gateway: .*", "    gateway: "+s.bed.Address,
	)
	switch name {
	case "plain-web":
		edit("guests.yaml", `"80:80"`, `"80:8080"`)
	case "portainer-agent", "dockge-like":
		edit("agentd.yaml", port+":"+port, port+":8080")
	case "private-ca":
		edit("agentd.yaml", "^  host: .*", "  host: "+s.bed.Registry, "^  username: .*", "  username: "+s.bed.Username, "^  token_file: .*", "  token_file: "+s.bed.TokenFile,
			"^  ca_file: .*", "  ca_file: "+s.bed.CAFile)
	}
	if name == "portainer-agent" {
		secret := filepath.Join(dir, "secret.env")
		if err := os.WriteFile(secret, []byte("AGENT_SECRET=sesame-of-the-test\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		edit("guests.yaml", "env_file: .*", "env_file: "+secret)
	}
	return e
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// wantAnswer wants the page at url within a minute: a container without a health
// test counts as ready before its program listens.
func wantAnswer(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := guest.Poll(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		page, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("GET %s: %s %s %w", url, resp.Status, page, err)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// wantVolume wants something of the guest mounted at target in the container.
func wantVolume(target string) func(*testing.T, guest.Guest, testbed.Container) {
	return func(t *testing.T, _ guest.Guest, c testbed.Container) {
		t.Helper()
		for _, m := range c.Mounts {
			if m.Destination == target {
				return
			}
		}
		t.Errorf("nothing is mounted at %s: %+v", target, c.Mounts)
	}
}

// wantLogin logs in with the key of the golden image.
func wantLogin(t *testing.T, g guest.Guest, _ testbed.Container) {
	t.Helper()
	s := theStack(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := guest.Poll(ctx, func() error {
		out, err := exec.CommandContext(ctx, "ssh", "-F", "/dev/null", "-i", filepath.Join(s.dir, "ssh-key"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
			"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=10",
			"root@"+s.address(t, 213).Addr().String(), "hostname").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "login") {
			return fmt.Errorf("ssh: want the guest's name, got %q %w", out, err)
		}
		return nil
	})
	if err != nil {
		t.Errorf("guest %d: %v", g.VMID, err)
	}
}
