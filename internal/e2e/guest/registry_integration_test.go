//go:build integration

package guest_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// TestRegistryAccess has guests that get their image in each of the three ways,
// side by side: through the host with containerd's image store (the guests of
// [TestGuests] have the older one), with the credential in the mount, and without
// any of it, from a preloaded image with neither registry nor network.
func TestRegistryAccess(t *testing.T) {
	s := theStack(t)
	archive := s.bakePreloaded(t)
	vmids := testbed.VMIDs(t, 3)
	proxied, static, alone := vmids[0], vmids[1], vmids[2]
	for _, vmid := range vmids {
		s.removeAfter(t, vmid)
	}
	t.Run("guests", func(t *testing.T) {
		t.Run("proxy", func(t *testing.T) {
			t.Parallel()
			s.provision(t, "proxy", "v1", proxied, "--golden", archive, "--ip", s.address(t, 215).String())
			s.wantStore(t, proxied, true)
			s.wantHealthy(t, s.guest(proxied), "v1")
			s.readToken(t, proxied)
		})
		t.Run("credential", func(t *testing.T) {
			t.Parallel()
			s.provision(t, "credential", "v1", static, "--golden", s.archive, "--ip", s.address(t, 216).String())
			s.wantStore(t, static, false)
			s.wantHealthy(t, s.guest(static), "v1")
		})
		t.Run("none", func(t *testing.T) {
			t.Parallel()
			s.provision(t, "none", "v2", alone, "--golden", archive, "--ip", "manual", "--no-start")
			s.start(t, alone)
			s.wantAlone(t, alone)
		})
	})
	if t.Failed() {
		return
	}
	searched := s.search(t, s.secrets, proxied)
	searched.wantNothing(t, 1)
	t.Run("planted", func(t *testing.T) { s.planted(t, static) })
}

// bakePreloaded bakes a golden image with containerd's image store, to which it
// brings the controller's image v2 along.
func (s *stack) bakePreloaded(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(s.dir, "preloaded")
	if err := os.Mkdir(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := s.bed.SaveImage(t.Context(), "v2", filepath.Join(dir, "image.tar")); err != nil {
		t.Fatal(err)
	}
	image, err := s.bed.Image("v2")
	if err != nil {
		t.Fatal(err)
	}
	recipe := filepath.Join(dir, "golden.yaml")
	text := fmt.Sprintf(`version: 1
name: preloaded
packages: {include: [openssh-server]}
docker: {daemon: {log-driver: local, features: {containerd-snapshotter: true}}}
controller: {image: %q, archive: image.tar}
`, image.Reference)
	if err := os.WriteFile(recipe, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(command(t, run.Cmd{
		Path: filepath.Join(s.dir, "programs/felhom-golden"), Stderr: os.Stderr,
		Args: []string{"build", "--recipe", recipe, "--compression", "fast", "--out", dir},
	}))
}

// provision makes a guest with another registry_access and image than the
// daemon's: what is in the mount is decided when the guest is made.
func (s *stack) provision(t *testing.T, access, tag string, vmid int, args ...string) {
	t.Helper()
	v1, errV1 := s.bed.Image("v1")
	image, err := s.bed.Image(tag)
	if err := errors.Join(err, errV1); err != nil {
		t.Fatal(err)
	}
	text := readFile(t, s.host.Config)
	for _, pair := range [][2]string{
		{"registry_access: proxy\n", "registry_access: " + access + "\n"},
		{v1.Reference, image.Reference},
		{v1.ManifestDigest, image.ManifestDigest},
		{v1.ConfigDigest, image.ConfigDigest},
	} {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("no %q in the daemon's configuration:\n%s", pair[0], text)
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	file := filepath.Join(s.dir, "agentd-"+access+"-"+strconv.Itoa(vmid)+".yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	own := []string{filepath.Join(s.dir, "programs/felhom-agentd"), "--config", file, "provision", "--vmid", strconv.Itoa(vmid), "--hostname", "felhom-" + access}
	argv := testbed.WithSubIDs(append(own, args...)...)
	command(t, run.Cmd{Path: argv[0], Args: argv[1:], Stderr: os.Stderr})
}

// wantStore wants the guest's engine to keep its images in that store.
func (s *stack) wantStore(t *testing.T, vmid int, isContainerd bool) {
	t.Helper()
	info, err := engineOf(t, s.guest(vmid)).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Contains(fmt.Sprint(info.DriverStatus), "io.containerd.snapshotter.v1"); got != isContainerd {
		t.Errorf("guest %d: containerd's image store: %v, want %v: %v", vmid, got, isContainerd, info.DriverStatus)
	}
}

// wantAlone wants the controller healthy in a guest that reaches nothing.
func (s *stack) wantAlone(t *testing.T, vmid int) {
	t.Helper()
	g := s.guest(vmid)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	err := guest.Poll(ctx, func() error {
		socket, err := g.Socket(ctx, "run/docker.sock")
		if err != nil {
			return err
		}
		engine, err := testbed.NewEngine("unix://" + socket)
		if err != nil {
			return err
		}
		defer engine.Close()
		c, err := engine.ContainerInspect(ctx, "felhom-controller")
		if err != nil {
			return err
		}
		if c.State.Health == nil || c.State.Health.Status != "healthy" {
			return errors.New("not healthy yet")
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, journal(g))
	}
	s.wantStore(t, vmid, true)
	s.wantHealthy(t, g, "v2")
	argv, err := g.InNetwork(t.Context(), "curl", "--silent", "--insecure", "--max-time", "5", "https://"+s.bed.Registry+"/v2/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Run(t.Context(), run.Cmd{Path: argv[0], Args: argv[1:]}); err == nil {
		t.Error("the guest reaches the registry")
	}
}

// planted puts a secret into each place that is searched, and wants the search to
// show it: one that never shows anything proves nothing.
func (s *stack) planted(t *testing.T, vmid int) {
	if searched := s.search(t, guest.Secrets{"registry": s.secrets["registry"]}, vmid); len(searched.held[inMount]) == 0 {
		t.Errorf("the credential of registry_access: credential does not show in the mount; held are %v", searched.held)
	}
	secret := "planted-" + rand.Text()
	s.provision(t, "credential", "v1", vmid, "--env", "LEAK="+secret)
	if _, err := s.guest(vmid).Ask(t.Context(), "logger", "password "+secret); err != nil {
		t.Fatal(err)
	}
	searched := s.search(t, guest.Secrets{"planted": secret}, vmid)
	for _, k := range []kind{inArguments, inJournal, inInspect, onDisk, inMount} {
		if len(searched.held[k]) == 0 {
			t.Errorf("what was planted does not show in the %s; held are %v", k, searched.held)
		}
	}
}
