//go:build integration

package guest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/directory"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// stack is a host with its daemon, a golden image, and guests that the product made.
type stack struct {
	bed     testbed.Bed
	dir     string
	host    *host.Host
	archive string
	vmid    []int       // of the guests that are used: three
	driver  *lxc.Driver // for what an operator does with the hypervisor's own tools

	mu      sync.Mutex
	secrets guest.Secrets
	argv    map[string]bool // every command line that this machine has run meanwhile
}

// shared is the stack of all tests of the package: to bake its golden is most of
// the work. [TestMain] closes it.
var shared struct {
	once  sync.Once
	stack *stack
	undo  []func() error // in the order of what it undoes
}

// theStack returns the shared stack. Where it could not be made, each test that
// asks for it fails.
func theStack(t *testing.T) *stack {
	t.Helper()
	shared.once.Do(func() { shared.stack = newStack(t) })
	if shared.stack == nil {
		t.Fatal("the first test that asked for the stack has reported why it failed")
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(shared.stack.host.Log())
		}
	})
	return shared.stack
}

// closeStack undoes what newStack did, also when it did not come to its end.
func closeStack() (err error) {
	for _, undo := range slices.Backward(shared.undo) {
		err = errors.Join(err, undo())
	}
	return err
}

// later has [closeStack] call undo.
func later(undo func() error) { shared.undo = append(shared.undo, undo) }

func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{bed: testbed.FromEnv(t), vmid: testbed.VMIDs(t, 3), secrets: guest.Secrets{}, argv: map[string]bool{}}
	if err := testbed.Require(t.Context(), os.Stderr, "lxc-start", "mmdebstrap", "nsenter", "iptables", "curl"); err != nil {
		t.Fatal(err)
	}
	s.watchArguments()
	// Not t.TempDir: it ends with the test, and a guest's root, an ordinary user
	// here, cannot enter it.
	var err error
	if s.dir, err = os.MkdirTemp("", "felhom-guests-"); err != nil {
		t.Fatal(err)
	}
	later(func() error { return os.RemoveAll(s.dir) })
	if err := os.Chmod(s.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	programs := filepath.Join(s.dir, "programs")
	for name, source := range map[string]string{"felhom-golden": "golden", "felhom-agentd": "agentd", "felhom-controller-bootstrap": "bootstrapper"} {
		// As in the Makefile, so that nothing but the source decides the bytes
		// and the cached base of the last run still fits.
		command(t, run.Cmd{
			Path: "go", Env: append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="),
			Args: []string{
				"build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs", "-ldflags", "-s -w -buildid=",
				"-o", filepath.Join(programs, name), "github.com/felhom/felhom-golden/" + source,
			},
		})
	}
	s.host, err = host.Start(t.Context(), s.bed, host.Settings{Binary: filepath.Join(programs, "felhom-agentd"), Dir: s.dir, Image: "v1", LXC: true})
	if err != nil {
		t.Fatal(err)
	}
	later(s.host.Stop)
	s.archive, err = guest.Bake(t.Context(), filepath.Join(programs, "felhom-golden"), s.bed, s.dir, os.Stderr, "openssh-server")
	if err != nil {
		t.Fatal(err)
	}
	s.driver = lxc.New(lxc.Options{Path: s.bed.LXCPath(), Storage: directory.New(s.bed.LXCPath())})
	registry, err := s.bed.Token()
	if err != nil {
		t.Fatal(err)
	}
	s.secrets["registry"] = registry
	return s
}

// watchArguments collects command lines until the stack is closed: arguments are
// readable by every user of a machine, those of guests included.
func (s *stack) watchArguments() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond) // faster costs the tests half a processor
		defer tick.Stop()
		for {
			processes, _ := os.ReadDir("/proc")
			for _, p := range processes {
				// Other entries have no such file.
				if line, err := os.ReadFile(filepath.Join("/proc", p.Name(), "cmdline")); err == nil && len(line) > 0 {
					s.mu.Lock()
					s.argv[string(line)] = true
					s.mu.Unlock()
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	later(func() error { cancel(); <-done; return nil })
}

// agentd runs felhom-agentd as an operator does and returns its stdout.
func (s *stack) agentd(t *testing.T, args ...string) string {
	t.Helper()
	argv := s.host.Command(args...)
	return command(t, run.Cmd{Path: argv[0], Args: argv[1:], Stderr: os.Stderr})
}

func (s *stack) guest(vmid int) guest.Guest { return guest.Guest{VMID: vmid, Path: s.bed.LXCPath()} }

// remove takes a guest away when the test is over, in whatever state it is.
func (s *stack) removeAfter(t *testing.T, vmid int) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.guest(vmid).Console())
		}
		argv := s.host.Command("guest", "remove", "--force", strconv.Itoa(vmid))
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil && !strings.Contains(string(out), "knows no guest") {
			t.Errorf("remove guest %d: %v\n%s", vmid, err, out)
		}
	})
}

// readToken keeps what is in the guest's mount for the search at the end.
func (s *stack) readToken(t *testing.T, vmid int) string {
	t.Helper()
	var boot struct {
		Token string `json:"local_api_token"`
	}
	data, err := os.ReadFile(s.mountFile(vmid))
	if err == nil {
		err = json.Unmarshal(data, &boot)
	}
	if err != nil || boot.Token == "" {
		t.Fatalf("token of guest %d: %v", vmid, err)
	}
	s.mu.Lock() // guests are looked at side by side
	defer s.mu.Unlock()
	s.secrets[fmt.Sprintf("token of %d, %.20s…", vmid, boot.Token)] = boot.Token
	return boot.Token
}

func (s *stack) mountDir(vmid int) string { return s.host.Mount(strconv.Itoa(vmid)) }

func (s *stack) mountFile(vmid int) string { return filepath.Join(s.mountDir(vmid), "bootstrap.json") }

func (s *stack) mount(vmid int) driver.Mount {
	return driver.Mount{Source: s.mountDir(vmid), Target: "/etc/felhom-bootstrap", ReadOnly: true}
}

// address is the bed's network with the last byte changed.
func (s *stack) address(t *testing.T, last byte) netip.Prefix {
	t.Helper()
	bridge, err := net.InterfaceByName(s.bed.Bridge)
	if err != nil {
		t.Fatal(err)
	}
	all, err := bridge.Addrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().String() != s.bed.Address {
			continue
		}
		bytes := p.Addr().As4()
		bytes[3] = last
		return netip.PrefixFrom(netip.AddrFrom4(bytes), p.Bits())
	}
	t.Fatalf("bridge %s has no address %s", s.bed.Bridge, s.bed.Address)
	return netip.Prefix{}
}

const unit = "felhom-controller-bootstrap.service"

// starts counts how often systemd has started the bootstrap in this boot.
func starts(ctx context.Context, g guest.Guest) (int, error) {
	const unitStarting = "7d4958e842da4a758f6c1cdc7b36dcc5" // SD_MESSAGE_UNIT_STARTING, systemd's catalogue
	out, err := readJournal(ctx, g, "--boot", "--quiet", "--output=cat", "--unit="+unit, "MESSAGE_ID="+unitStarting)
	return strings.Count(out, "\n"), err
}

// quiet is how long nothing may happen after a cause has had its effect.
const quiet = 1500 * time.Millisecond

// wantStarts waits until the bootstrap has started n times and ended, and sees
// that it does not begin once more.
func wantStarts(t *testing.T, g guest.Guest, cause string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	err := guest.Poll(ctx, func() error {
		got, err := starts(ctx, g)
		state, stateErr := g.Ask(ctx, "systemctl", "show", "--property=ActiveState", "--value", unit)
		if err := errors.Join(err, stateErr); err != nil {
			return err
		}
		if state = strings.TrimSpace(state); got < n || state != "inactive" && state != "failed" {
			return fmt.Errorf("%d starts, %s", got, state)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: want %d starts, got %v\n%s", cause, n, err, journal(g))
	}
	quietly, cancelQuiet := context.WithTimeout(t.Context(), quiet)
	defer cancelQuiet()
	var got int
	_ = guest.Poll(quietly, func() error { // until something happens, which it must not
		if now, err := starts(t.Context(), g); err == nil {
			got = now
		}
		if got > n {
			return nil
		}
		return errors.New("quiet")
	})
	if got != n {
		t.Errorf("%s: want exactly %d starts, got %d\n%s", cause, n, got, journal(g))
	}
}

// readJournal returns what journalctl prints with these options. Programs hand
// their lines over and do not wait: journald must have written them first.
func readJournal(ctx context.Context, g guest.Guest, options ...string) (string, error) {
	if _, err := g.Ask(ctx, "journalctl", "--sync"); err != nil {
		return "", err
	}
	return g.Ask(ctx, append([]string{"journalctl"}, options...)...)
}

func journal(g guest.Guest) string {
	out, err := readJournal(context.Background(), g, "--boot", "--no-pager", "--unit=felhom-controller-bootstrap*", "--unit=etc-felhom*")
	if err != nil {
		return err.Error()
	}
	return out
}

// record is what the test reads of a guest's result file.
type record struct {
	Run      string `json:"run"`
	ExitCode int    `json:"exit_code"`
	Result   string `json:"result"`
	Message  string `json:"message"`
}

// result is how the last run in the guest ended, read from its disk.
func result(t *testing.T, g guest.Guest) (r record) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(g.Rootfs(), "var/lib/felhom/bootstrap-result.json"))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// engine is a client of the guest's own engine, on its socket.
func engineOf(t *testing.T, g guest.Guest) *testbed.Engine {
	t.Helper()
	socket, err := g.Socket(t.Context(), "run/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	e, err := testbed.NewEngine("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// wantHealthy wants the controller up in the guest, from the image of tag.
func (s *stack) wantHealthy(t *testing.T, g guest.Guest, tag string) testbed.Container {
	t.Helper()
	c, err := engineOf(t, g).ContainerInspect(t.Context(), "felhom-controller")
	if err != nil {
		t.Fatalf("%v\n%s", err, journal(g))
	}
	if c.State.Health == nil || c.State.Health.Status != "healthy" || c.RestartCount != 0 {
		t.Errorf("want a healthy controller that never restarted, got %+v, restarts %d", c.State, c.RestartCount)
	}
	if image, err := s.bed.Image(tag); err != nil || c.Config.Image != image.Reference {
		t.Errorf("want image %s, got %s %v", image.Reference, c.Config.Image, err)
	}
	return c
}

// wantList wants the run of every guest to have reached its end.
func (s *stack) wantList(t *testing.T, vmids ...int) {
	t.Helper()
	out := s.agentd(t, "guest", "list")
	for _, vmid := range vmids {
		if !regexp.MustCompile(`(?m)^` + strconv.Itoa(vmid) + ` +\S+ +\S+ +\S+ +healthy `).MatchString(out) {
			t.Errorf("guest %d: want a healthy controller, got:\n%s", vmid, out)
		}
	}
}

// command runs a command that must succeed and returns its stdout.
func command(t *testing.T, c run.Cmd) string {
	t.Helper()
	res, err := run.Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return string(res.Stdout)
}
