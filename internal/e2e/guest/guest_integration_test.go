//go:build integration

package guest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/acceptance"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
)

// identity is what no two guests of one golden image may share.
type identity map[string]string

var identityFiles = map[string]*regexp.Regexp{
	"etc/machine-id":                   regexp.MustCompile(`^[0-9a-f]{32}\n$`),
	"etc/ssh/ssh_host_ed25519_key.pub": regexp.MustCompile(`^ssh-ed25519 \S+ `),
	"etc/ssh/ssh_host_rsa_key.pub":     regexp.MustCompile(`^ssh-rsa \S+ `),
	"etc/ssh/ssh_host_ecdsa_key.pub":   regexp.MustCompile(`^ecdsa-sha2-nistp256 \S+ `),
	"var/lib/docker/engine-id":         regexp.MustCompile(`^[0-9a-f-]{36}$`),
}

// TestGuests takes guests the whole way, from a golden image that felhom-golden
// bakes to a healthy controller, with the product's own commands, and meets
// there what has gone wrong before. The parts share guests: a boot costs
// seconds.
func TestGuests(t *testing.T) {
	s := theStack(t)
	for _, vmid := range s.vmid {
		s.removeAfter(t, vmid)
	}
	t.Run("cold restore", s.coldRestore)
	if t.Failed() {
		return
	}
	t.Run("side by side", func(t *testing.T) {
		t.Run("channel", func(t *testing.T) { t.Parallel(); s.channel(t); s.reboot(t) })
		t.Run("triggers", func(t *testing.T) { t.Parallel(); s.triggers(t); s.registryDown(t) })
		t.Run("hotplug", func(t *testing.T) { t.Parallel(); s.hotplug(t); s.unreadable(t); s.wrongPin(t); s.plain(t) })
	})
	t.Run("no secret anywhere", s.noSecret)
	t.Run("remove", s.remove)
}

// coldRestore provisions two guests by a specification.
func (s *stack) coldRestore(t *testing.T) {
	spec := filepath.Join(s.dir, "guests.yaml")
	text := fmt.Sprintf(`version: 1
guests:
  - {vmid: %[4]d, hostname: felhom-one, golden: %[1]s, ip: %[2]s}
  - {vmid: %[5]d, hostname: felhom-two, golden: %[1]s, ip: %[3]s}
`, s.archive, s.address(t, 200), s.address(t, 201), s.vmid[0], s.vmid[1])
	if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.agentd(t, "provision", "--spec", spec)
	s.wantList(t, s.vmid[0], s.vmid[1])
	found := map[int]identity{}
	var mu sync.Mutex
	t.Run("guests", func(t *testing.T) {
		for i, vmid := range s.vmid[:2] {
			t.Run(strconv.Itoa(vmid), func(t *testing.T) {
				t.Parallel()
				g := s.guest(vmid)
				wantBooted(t, g)
				wantStarts(t, g, "mount there at boot", 1)
				s.readToken(t, vmid)
				s.wantHealthy(t, g, "v1")
				wantConsole(t, g, "felhom: the controller is up: "+s.bed.Registry)
				wantNetwork(t, vmid, s.address(t, byte(200+i)).Addr())
				id := identityOf(t, g)
				mu.Lock()
				defer mu.Unlock()
				found[vmid] = id
			})
		}
	})
	for file := range identityFiles {
		if found[s.vmid[0]][file] == found[s.vmid[1]][file] {
			t.Errorf("two guests of one golden image have the same %s: %q", file, found[s.vmid[0]][file])
		}
	}
}

// wantBooted wants a system with no failed unit at all: those that fail in
// every guest are masked in the golden image.
func wantBooted(t *testing.T, g guest.Guest) {
	t.Helper()
	// A boot takes 3 s here; 120 s were lost where presets enabled networkd.
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	state, err := g.Booted(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if state != "running" {
		failed, err := g.Ask(ctx, "systemctl", "--no-pager", "--failed")
		t.Errorf("want state running, got %s: %v\n%s", state, err, failed)
	}
	for unit, want := range map[string]string{
		"multi-user.target":                "active",
		"docker.service":                   "success active",
		"ssh.service":                      "success active",
		"felhom-controller-bootstrap.path": "success active",
		// A oneshot without RemainAfterExit.
		unit: "success inactive",
	} {
		out, err := g.Ask(ctx, "systemctl", "show", "--property=ActiveState,Result", "--value", unit)
		if got := strings.Join(strings.Fields(out), " "); got != want {
			t.Errorf("%s: want %s, got %q %v", unit, want, got, err)
		}
	}
}

func identityOf(t *testing.T, g guest.Guest) identity {
	t.Helper()
	id := identity{}
	for file, form := range identityFiles {
		data, err := os.ReadFile(filepath.Join(g.Rootfs(), file))
		if err != nil || !form.Match(data) {
			t.Errorf("%s: want %s, got %q %v", file, form, data, err)
		}
		// Not the comment, which is the host name.
		id[file] = string(bytes.Join(bytes.Fields(data)[:min(2, len(bytes.Fields(data)))], []byte(" ")))
	}
	return id
}

// wantNetwork talks to the guest from this machine.
func wantNetwork(t *testing.T, vmid int, address netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(address.String(), "8080")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close()
	for _, want := range []string{"mode:     configured\n", "storage:  200 OK {", `"guest":` + strconv.Itoa(vmid)} {
		if err != nil || !strings.Contains(string(page), want) {
			t.Errorf("the controller's page: want %q in it, got %v\n%s", want, err, page)
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(address.String(), "22"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	banner := make([]byte, 8)
	if _, err := io.ReadFull(conn, banner); err != nil || string(banner) != "SSH-2.0-" {
		t.Errorf("the SSH server says %q %v", banner, err)
	}
}

// channel asks T1 to T4 from inside the first guest's network, once with the second's
// token too, which is T3.
func (s *stack) channel(t *testing.T) {
	g := s.guest(s.vmid[0])
	pin := strings.TrimSpace(s.agentd(t, "pin", "--json"))
	var pins struct {
		Current struct {
			SPKI string `json:"spki_sha256"`
		} `json:"current"`
	}
	if err := json.Unmarshal([]byte(pin), &pins); err != nil {
		t.Fatal(err)
	}
	within := func(argv ...string) ([]string, error) { return g.InNetwork(t.Context(), argv...) }
	for _, c := range acceptance.Cases(s.vmid[0], pins.Current.SPKI, s.readToken(t, s.vmid[0]), s.readToken(t, s.vmid[1])) {
		got, body, err := c.Ask(t.Context(), s.host.Endpoint, within)
		if err != nil || got != c.Want {
			t.Errorf("%s, %s: want %s, got %s %v\n%s", c.Name, c.What, c.Want, got, err, body)
		}
		if c.Name == "T1" {
			checkStorage(t, body, s.vmid[0])
		}
	}
}

// checkStorage checks that the answer is about guest vmid and its state what its
// own figures say: how full this machine's disk is, the test does not know.
func checkStorage(t *testing.T, body string, vmid int) {
	var answer contract.Storage
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Guest != vmid || len(answer.Filesystems) != 1 {
		t.Errorf("T1: the answer is %s (%v)", body, err)
		return
	}
	want := contract.StorageOK
	if f := answer.Filesystems[0]; f.AvailableBytes < f.SizeBytes/10 {
		want = contract.StorageLow
	}
	if answer.Storage != want {
		t.Errorf("T1: want %s, got %s", want, body)
	}
}

// reboot: nothing is changed by it, and the controller is up again.
func (s *stack) reboot(t *testing.T) {
	g := s.guest(s.vmid[0])
	before, first := s.wantHealthy(t, g, "v1"), result(t, g)
	settings := filepath.Join(g.Rootfs(), "opt/docker/felhom-controller/controller.yaml")
	old, err := os.Stat(settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.driver.Shutdown(t.Context(), s.vmid[0], 30*time.Second); err != nil {
		t.Fatal(err)
	}
	s.agentd(t, "provision", "--vmid", strconv.Itoa(s.vmid[0]), "--golden", s.archive) // the operator's way to have it up
	wantBooted(t, g)
	wantStarts(t, g, "boot", 1)
	after, second := s.wantHealthy(t, g, "v1"), result(t, g)
	now, err := os.Stat(settings)
	if err != nil || !os.SameFile(old, now) || !now.ModTime().Equal(old.ModTime()) {
		t.Errorf("controller.yaml was written again: %v", err)
	}
	if after.ID != before.ID || second.Run == first.Run || second.ExitCode != 0 {
		t.Errorf("want the same container and another run, got %s and %s, result %+v", before.ID, after.ID, second)
	}
}

// triggers: each cause begins the bootstrap exactly once.
func (s *stack) triggers(t *testing.T) {
	g, ctx := s.guest(s.vmid[1]), t.Context()
	n, err := starts(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	s.agentd(t, "guest", "add", strconv.Itoa(s.vmid[1]))
	wantStarts(t, g, "file rewritten by the host", n+1)
	first := s.readToken(t, s.vmid[1])

	if err := s.driver.Detach(ctx, s.vmid[1], "/etc/felhom-bootstrap"); err != nil {
		t.Fatal(err)
	}
	wantStarts(t, g, "unplugged", n+1)
	if err := s.driver.Attach(ctx, s.vmid[1], s.mount(s.vmid[1])); err != nil {
		t.Fatal(err)
	}
	wantStarts(t, g, "plugged again", n+2)
	if r := result(t, g); r.Result != "unchanged" {
		t.Errorf("the mount came back as it was, and the run is %+v", r)
	}

	if err := s.driver.Detach(ctx, s.vmid[1], "/etc/felhom-bootstrap"); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.mountFile(s.vmid[1])); err != nil {
		t.Fatal(err)
	}
	if err := s.driver.Attach(ctx, s.vmid[1], s.mount(s.vmid[1])); err != nil {
		t.Fatal(err)
	}
	wantStarts(t, g, "mount without a file", n+2)
	s.agentd(t, "guest", "add", strconv.Itoa(s.vmid[1]))
	wantStarts(t, g, "file after the mount", n+3)
	if second := s.readToken(t, s.vmid[1]); second == first {
		t.Error("guest add gave the same token")
	}
	s.wantHealthy(t, g, "v1")
	wantNetwork(t, s.vmid[1], s.address(t, 201).Addr())
}

// registryDown: the image is there, so the registry is not needed.
func (s *stack) registryDown(t *testing.T) {
	g, ctx := s.guest(s.vmid[1]), t.Context()
	_, port, err := net.SplitHostPort(s.bed.Registry)
	if err != nil {
		t.Fatal(err)
	}
	argv, err := g.InNetwork(ctx, "iptables", "-I", "OUTPUT", "-p", "tcp", "--dport", port, "-j", "REJECT", "--reject-with", "tcp-reset")
	if err != nil {
		t.Fatal(err)
	}
	command(t, run.Cmd{Path: argv[0], Args: argv[1:]})
	if argv, err = g.InNetwork(ctx, "curl", "--silent", "--insecure", "--max-time", "5", "https://"+s.bed.Registry+"/v2/"); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Run(ctx, run.Cmd{Path: argv[0], Args: argv[1:]}); err == nil {
		t.Fatal("the guest still reaches the registry")
	}
	old := s.wantHealthy(t, g, "v1")
	if err := engineOf(t, g).Remove(ctx, "felhom-controller"); err != nil {
		t.Fatal(err)
	}
	n, err := starts(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	s.agentd(t, "guest", "add", strconv.Itoa(s.vmid[1]))
	wantStarts(t, g, "file rewritten", n+1)
	s.readToken(t, s.vmid[1])
	if c := s.wantHealthy(t, g, "v1"); c.ID == old.ID {
		t.Error("the container was not made again")
	}
}

// hotplug: the mount arrives in a guest that runs and has never had one.
func (s *stack) hotplug(t *testing.T) {
	g, ctx := s.guest(s.vmid[2]), t.Context()
	s.agentd(t, "provision", "--vmid", strconv.Itoa(s.vmid[2]), "--hostname", "felhom-three", "--golden", s.archive, "--ip", s.address(t, 202).String(), "--no-start")
	if err := s.driver.Detach(ctx, s.vmid[2], "/etc/felhom-bootstrap"); err != nil {
		t.Fatal(err)
	}
	if err := s.driver.Start(ctx, s.vmid[2]); err != nil {
		t.Fatal(err)
	}
	boot, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	if state, err := g.Booted(boot); err != nil || state != "running" {
		t.Fatalf("state %s %v", state, err)
	}
	wantStarts(t, g, "boot without a mount", 0)
	if err := s.driver.Attach(ctx, s.vmid[2], s.mount(s.vmid[2])); err != nil {
		t.Fatal(err)
	}
	wantStarts(t, g, "hotplugged", 1)
	s.readToken(t, s.vmid[2])
	s.wantHealthy(t, g, "v1")
	s.wantList(t, s.vmid[2])
}

// replaceFile puts a file into the mount as a careless host would: its own
// owner and mode, in one step.
func (s *stack) replaceFile(t *testing.T, vmid int, data []byte, mode os.FileMode, gid int) {
	t.Helper()
	tmp := s.mountFile(vmid) + ".test"
	if err := errors.Join(os.WriteFile(tmp, data, mode), os.Chown(tmp, 0, gid), os.Rename(tmp, s.mountFile(vmid))); err != nil {
		t.Fatal(err)
	}
}

// wantFailure wants the service failed with that code, and the message in the
// guest's own journal.
func wantFailure(t *testing.T, g guest.Guest, code int, words ...string) {
	t.Helper()
	if r := result(t, g); r.ExitCode != code {
		t.Errorf("want exit code %d, got %+v", code, r)
	}
	out, err := g.Ask(t.Context(), "systemctl", "show", "--property=Result,ExecMainStatus", "--value", unit)
	if got, want := strings.Join(strings.Fields(out), " "), "exit-code "+strconv.Itoa(code); got != want {
		t.Errorf("the service: want %s, got %s %v", want, got, err)
	}
	wantJournal(t, g, words...)
}

func wantJournal(t *testing.T, g guest.Guest, words ...string) {
	t.Helper()
	text := journal(g)
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("want %q in the journal, got\n%s", word, text)
		}
	}
}

// unreadable: the file belongs to the host's root, who is the user nobody in the guest.
// The program says so and waits: systemd cannot watch such a file.
func (s *stack) unreadable(t *testing.T) {
	g := s.guest(s.vmid[2])
	data, err := os.ReadFile(s.mountFile(s.vmid[2]))
	if err != nil {
		t.Fatal(err)
	}
	n, err := starts(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	before := result(t, g)
	s.replaceFile(t, s.vmid[2], data, 0o600, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if err := guest.Poll(ctx, func() error {
		if r := result(t, g); r.Run == before.Run || r.ExitCode != 3 {
			return fmt.Errorf("want a run with exit code 3, got %+v", r)
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, journal(g))
	}
	wantJournal(t, g, "permission denied", "belongs to nobody", "chown root:100000 HOSTDIR")
	s.agentd(t, "guest", "add", strconv.Itoa(s.vmid[2])) // which writes it again, and repairs it
	wantStarts(t, g, "file repaired", n+1)
	s.readToken(t, s.vmid[2])
	if r := result(t, g); r.ExitCode != 0 {
		t.Errorf("the repaired mount: %+v", r)
	}
}

// wrongPin: another server answers at the host's address. Nothing is said to it.
func (s *stack) wrongPin(t *testing.T) {
	g := s.guest(s.vmid[2])
	rogue := newRogue(t, s.bed.Address)
	data, err := os.ReadFile(s.mountFile(s.vmid[2]))
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(data, []byte(s.host.Endpoint), []byte("https://"+rogue.address))
	if bytes.Equal(changed, data) {
		t.Fatalf("no endpoint %s in the mount", s.host.Endpoint)
	}
	n, err := starts(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	s.replaceFile(t, s.vmid[2], changed, 0o640, 100000)
	wantStarts(t, g, "wrong pin", n+1)
	wantFailure(t, g, 4, "pin")
	wantConsole(t, g, "felhom: the controller is not up (verification): local API at ", "felhom: hint: ")
	connections, heard := rogue.heard()
	if connections == 0 {
		t.Error("the guest did not even ask the rogue server")
	}
	if len(heard) > 0 {
		t.Errorf("the rogue server was told %q", heard)
	}
	s.wantHealthy(t, g, "v1") // the controller that was there runs on
}

// wantConsole wants these words above the login prompt, which agetty takes from there.
func wantConsole(t *testing.T, g guest.Guest, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := guest.Poll(ctx, func() error {
		out, err := g.Ask(ctx, "cat", "/etc/issue.d/felhom.issue")
		if err != nil {
			return err
		}
		if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(out, w) }) {
			return fmt.Errorf("want %q on the console, got %q", words, out)
		}
		return nil
	}); err != nil {
		said, askErr := g.Ask(t.Context(), "journalctl", "--no-pager", "--unit=felhom-bootstrap-console.service")
		t.Errorf("%v\n%s %v", err, said, askErr)
	}
}

// plain: the host asks for a container that is not felhom's. It has what was asked
// for, and its own ports are reached from outside.
func (s *stack) plain(t *testing.T) {
	g := s.guest(s.vmid[2])
	data, err := os.ReadFile(s.mountFile(s.vmid[2]))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	delete(file, "hub_url")
	delete(file, "host_id")
	file["profile"], file["local_api_endpoint"] = "plain", s.host.Endpoint // wrongPin has another one
	file["container"] = map[string]any{"environment": map[string]string{"PLAIN": "yes"}, "volumes": []string{"data:/data"}}
	changed, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := starts(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	s.replaceFile(t, s.vmid[2], changed, 0o640, 100000)
	wantStarts(t, g, "profile plain", n+1)
	c := s.wantHealthy(t, g, "v1")
	if !slices.Contains(c.Config.Env, "PLAIN=yes") {
		t.Errorf("variables %v", c.Config.Env)
	}
	if len(c.Mounts) != 1 || c.Mounts[0].Type != "volume" || c.Mounts[0].Destination != "/data" {
		t.Errorf("mounts %+v, want the volume alone", c.Mounts)
	}
	// The image exposes two ports, and its program listens on one of them.
	if len(c.HostConfig.PortBindings) != 2 {
		t.Errorf("published are %v", c.HostConfig.PortBindings)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(s.address(t, 202).Addr().String(), "8080")+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	wantConsole(t, g, "felhom: the controller is up: ")
}

// noSecret searches all that a run leaves behind for every secret of the test.
func (s *stack) noSecret(t *testing.T) {
	if len(s.secrets) < 6 {
		t.Fatalf("only %d secrets to look for", len(s.secrets))
	}
	searched := s.search(t, s.secrets, s.vmid...)
	searched.wantNothing(t, len(s.vmid))
	for _, vmid := range s.vmid {
		s.searchMount(t, vmid)
	}
}

// searchMount wants all files in the mount, and not even the registry's user name in them.
func (s *stack) searchMount(t *testing.T, vmid int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.mountDir(vmid), "*"))
	if err != nil || len(files) < 3 {
		t.Errorf("mount of guest %d has %v, %v, want bootstrap.json, hosts.toml and agent.crt", vmid, files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(data, []byte(s.bed.Username+`"`)) {
			t.Errorf("%s holds the registry's user name", file)
		}
	}
}

// remove removes everything.
func (s *stack) remove(t *testing.T) {
	for _, vmid := range s.vmid {
		s.agentd(t, "guest", "remove", "--force", strconv.Itoa(vmid))
		if _, err := s.driver.Guest(t.Context(), vmid); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("guest %d is left: %v", vmid, err)
		}
		if left, err := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/lxc.*.%d", vmid)); err != nil || len(left) > 0 {
			t.Errorf("cgroups left behind: %v %v", left, err)
		}
		for _, path := range []string{s.guest(vmid).Dir(), s.mountDir(vmid)} {
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left: %v", path, err)
			}
		}
	}
	if out := strings.TrimSpace(s.agentd(t, "guest", "list", "--json")); out != "[]" {
		t.Errorf("the host still knows %s", out)
	}
}
