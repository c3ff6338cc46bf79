//go:build integration

package guest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// own is a host whose guests run a user's own image.
type own struct {
	*stack           // with a daemon of its own
	vmid   []int     // two guests of one golden image
	ip     [2]string // their addresses
	image  [2]string // with a health test, and without one
}

// TestOwnImage takes a user's own image to two guests with six lines of
// agentd.yaml and one specification, and changes one of them from the host.
func TestOwnImage(t *testing.T) {
	o := newOwn(t)
	t.Run("provision", o.provision)
	if t.Failed() {
		return
	}
	t.Run("same again", o.sameAgain)
	t.Run("one variable of one guest", o.oneVariable)
	t.Run("a new token", o.newToken)
	t.Run("list and show", o.listAndShow)
	t.Run("ansible", o.ansible)
	t.Run("day two", o.dayTwo)
}

func newOwn(t *testing.T) *own {
	t.Helper()
	shared := theStack(t)
	o := &own{
		stack: &stack{bed: shared.bed, archive: shared.archive, driver: shared.driver, secrets: guest.Secrets{}},
		vmid:  testbed.VMIDs(t, 2),
		ip:    [2]string{shared.address(t, 221).Addr().String(), shared.address(t, 222).Addr().String()},
	}
	var err error
	if o.image[0], o.image[1], err = o.bed.PushApp(t.Context()); err != nil {
		t.Fatal(err)
	}
	// As the shared stack's: a guest's root must be able to enter it.
	o.dir = filepath.Join(shared.dir, "own")
	if err := os.Mkdir(o.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`controller_image: %s
profile: plain
hypervisor: lxc
bridge: %s
registry: {host: %q, username: %s, token_file: %s, ca_file: %s}
container: {volumes: ["data:/data"], environment: {MODE: everywhere}}
`, o.image[0], o.bed.Bridge, o.bed.Registry, o.bed.Username, o.bed.TokenFile, o.bed.CAFile)
	if lines := strings.Count(config, "\n"); lines > 6 {
		t.Fatalf("agentd.yaml of %d lines, want six at most", lines)
	}
	o.host, err = host.Start(t.Context(), o.bed, host.Settings{
		Binary: filepath.Join(shared.dir, "programs/felhom-agentd"), Dir: o.dir, LXC: true, Own: config, Port: 8543,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(o.host.Log())
		}
		if err := o.host.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, vmid := range o.vmid {
		o.removeAfter(t, vmid)
	}
	return o
}

// provision makes both guests with one command, whose last lines have the URLs.
func (o *own) provision(t *testing.T) {
	envFile := filepath.Join(o.dir, "secret.env")
	if err := os.WriteFile(envFile, []byte("APP_PASSWORD=correct-horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := fmt.Sprintf(`version: 1
guests:
  - {vmid: %d, hostname: tested, golden: %[3]s, ip: %[4]s, env_file: %[6]s}
  - {vmid: %[2]d, hostname: untested, golden: %[3]s, ip: %[5]s, image: %[7]s, container: {environment: {MODE: spec}}}
`, o.vmid[0], o.vmid[1], o.archive, o.address(t, 221), o.address(t, 222), envFile, o.image[1])
	if err := os.WriteFile(o.spec(), []byte(spec), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(o.agentd(t, "provision", "--spec", o.spec())), "\n")
	if len(lines) != 2 {
		t.Fatalf("want a line for each guest, got %q", lines)
	}
	o.wantUp(t, lines[0], 0, "tested", "everywhere", 1)
	o.wantUp(t, lines[1], 1, "untested", "spec", 1)
}

func (o *own) spec() string { return filepath.Join(o.dir, "guests.yaml") }

// sameAgain: what is as asked for is left alone.
func (o *own) sameAgain(t *testing.T) {
	out := o.agentd(t, "provision", "--spec", o.spec())
	if n := strings.Count(out, ": up, unchanged: http://"); n != 2 {
		t.Errorf("want two unchanged guests, got\n%s", out)
	}
	o.wantPage(t, 0, "everywhere", 1)
	o.wantPage(t, 1, "spec", 1)
}

// oneVariable: one command changes it, in one guest, and its volume stays.
func (o *own) oneVariable(t *testing.T) {
	for _, c := range []struct{ guest, other int }{{0, 1}, {1, 0}} {
		changed, other := o.guest(o.vmid[c.guest]), o.guest(o.vmid[c.other])
		before, runs := o.container(t, other), o.starts(t, other)
		mode := "edge-" + strconv.Itoa(c.guest)
		out := strings.TrimSpace(o.agentd(t, "provision", "--vmid", strconv.Itoa(o.vmid[c.guest]), "--env", "MODE="+mode))
		o.wantUp(t, out, c.guest, [2]string{"tested", "untested"}[c.guest], mode, 2)
		if after := o.container(t, other); after != before {
			t.Errorf("the other guest's container was %s, and is %s", before, after)
		}
		if now := o.starts(t, other); now != runs {
			t.Errorf("the other guest's bootstrap ran %d times more", now-runs)
		}
		made, err := engineOf(t, changed).ContainerInspect(t.Context(), "felhom-controller")
		if err != nil {
			t.Fatal(err)
		}
		if has := slices.Contains(made.Config.Env, "APP_PASSWORD=correct-horse"); has != (c.guest == 0) {
			t.Errorf("guest %d: variables %v, want the secret in the first guest alone", c.guest, made.Config.Env)
		}
	}
}

// newToken: the container of the plain profile has no token, so it runs on.
func (o *own) newToken(t *testing.T) {
	g := o.guest(o.vmid[0])
	before, runs, token := o.container(t, g), o.starts(t, g), o.readToken(t, o.vmid[0])
	o.agentd(t, "guest", "rotate", strconv.Itoa(o.vmid[0]))
	wantStarts(t, g, "a new token", runs+1)
	if now := o.readToken(t, o.vmid[0]); now == token {
		t.Error("rotate gave the same token")
	}
	if after := o.container(t, g); after != before {
		t.Errorf("a new token alone: the container was %s, and is %s", before, after)
	}
	if r := result(t, g); r.ExitCode != 0 {
		t.Errorf("the run with the new token: %+v", r)
	}
}

func (o *own) listAndShow(t *testing.T) {
	o.wantList(t, o.vmid...)
	list := o.agentd(t, "guest", "list")
	for _, ip := range o.ip {
		if !strings.Contains(list, ip+":"+strconv.Itoa(testbed.AppPort)) {
			t.Errorf("want %s and its port in\n%s", ip, list)
		}
	}
	shown := o.agentd(t, "guest", "show", strconv.Itoa(o.vmid[0]))
	for _, want := range []string{"MODE=edge-0", "data:/data", "APP_PASSWORD=(hidden)", "http://" + o.ip[0] + ":9001/"} {
		if !strings.Contains(shown, want) {
			t.Errorf("want %q in\n%s", want, shown)
		}
	}
	if strings.Contains(shown, "correct-horse") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
}

// wantUp wants the line of a guest that came up with a URL at its end, and the
// app behind it.
func (o *own) wantUp(t *testing.T, line string, i int, hostname, mode string, starts int) {
	t.Helper()
	want := fmt.Sprintf(`^guest %d \(%s\): up in [0-9.]+s: http://%s:%d/$`, o.vmid[i], hostname, regexp.QuoteMeta(o.ip[i]), testbed.AppPort)
	if !regexp.MustCompile(want).MatchString(line) {
		t.Errorf("want %s, got %q", want, line)
	}
	o.wantPage(t, i, mode, starts)
}

func (o *own) wantPage(t *testing.T, i int, mode string, starts int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	url := "http://" + net.JoinHostPort(o.ip[i], strconv.Itoa(testbed.AppPort)) + "/"
	want, got := fmt.Sprintf("mode: %s\nstarts: %d\n", mode, starts), ""
	if err := guest.Poll(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		page, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		got = string(page)
		return errors.Join(err, resp.Body.Close())
	}); err != nil || got != want {
		t.Errorf("%s: want %q, got %q %v", url, want, got, err)
	}
}

// container returns text that is different for each container and for each of its starts.
func (o *own) container(t *testing.T, g guest.Guest) string {
	t.Helper()
	c, err := engineOf(t, g).ContainerInspect(t.Context(), "felhom-controller")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%.12s, started %s, restarts %d", c.ID, c.State.StartedAt, c.RestartCount)
}

func (o *own) starts(t *testing.T, g guest.Guest) int {
	t.Helper()
	n, err := starts(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWrongContainerIsRefusedAtBuild: what each guest would refuse is refused
// with its line before anything is made.
func TestWrongContainerIsRefusedAtBuild(t *testing.T) {
	s := theStack(t)
	recipe := filepath.Join(t.TempDir(), "golden.yaml")
	text := "version: 1\ncontroller:\n  container:\n    environment: {MODE: edge}\n    volume: [\"data:/data\"]\n    ports: [\"9001:99999\"]\n"
	if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	var stderr strings.Builder
	_, err := run.Run(t.Context(), run.Cmd{
		Path: filepath.Join(s.dir, "programs/felhom-golden"), Args: []string{"build", "--recipe", recipe, "--out", out}, Stderr: &stderr,
	})
	if err == nil {
		t.Fatal("the recipe was built")
	}
	for _, want := range []string{"golden.yaml:5:5: ", `did you mean "volumes"?`, "golden.yaml:6:13: "} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("want %q in\n%s", want, stderr.String())
		}
	}
	if made, err := os.ReadDir(out); err != nil || len(made) > 0 {
		t.Errorf("left behind: %v %v", made, err)
	}
}
