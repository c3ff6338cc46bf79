//go:build integration

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/freeport"
)

const controllerName = "felhom-controller"

// realGuest is a guest on the bed's engine and registry, with its own ports.
func realGuest(t *testing.T) (*guest, testbed.Bed, *testbed.Engine) {
	t.Helper()
	bed := testbed.FromEnv(t)
	bed.Lock(t)
	id := bed.TestID(t)
	for _, name := range []string{controllerName, controllerName + "-next", controllerName + "-previous"} {
		bed.RemoveAfter(t, name)
	}
	root := filepath.Join(bed.Dir, id)
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	g := newGuest(t, root, bed.DockerHost)
	token, err := bed.Token()
	if err != nil {
		t.Fatal(err)
	}
	g.ports(freeport.Address(t, bed.Address))
	g.set("registry", map[string]string{"host": bed.Registry, "username": bed.Username, "token": token},
		"controller_image", bed.Registry+"/felhom/controller:v1")
	return g, bed, bed.Engine(t)
}

func (g *guest) ports(hostPort string) {
	g.write("etc/felhom/controller-container.yaml", fmt.Sprintf("ports: [%q]\n", hostPort+":8080"))
}

// stopSoon gives a container a second to end.
var stopSoon = container.StopOptions{Timeout: new(1)}

func inspect(t *testing.T, e *testbed.Engine, name string) testbed.Container {
	t.Helper()
	c, err := e.ContainerInspect(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// tree lists every file below dir with mode, size and time.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if strings.HasSuffix(name, ".lock") || strings.HasSuffix(name, "bootstrap-result.json") {
			out = append(out, name+" "+info.Mode().String())
			return nil
		}
		out = append(out, fmt.Sprintf("%s %s %d %d", name, info.Mode(), info.Size(), info.ModTime().UnixNano()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestApplyTwiceChangesNothingTheSecondTime(t *testing.T) {
	g, bed, engine := realGuest(t)
	g.want(0, nil)
	want := []string{"mount unchanged", "channel unchanged", "settings changed", "engine unchanged", "container changed", "ready changed"}
	got := g.outcomes()
	got = append(got[:4:4], got[5:]...) // the image may be there from another test
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	first, files := inspect(t, engine, controllerName), tree(t, g.root)
	if first.State.Health == nil || first.State.Health.Status != "healthy" {
		t.Errorf("state %+v, want healthy", first.State)
	}
	token, err := bed.Token()
	if err != nil {
		t.Fatal(err)
	}
	_, raw, err := engine.ContainerInspectWithRaw(t.Context(), first.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{token, guestToken} {
		if strings.Contains(string(raw), secret) {
			t.Error("docker inspect shows a secret")
		}
	}

	g.want(0, nil)
	for _, s := range g.outcomes() {
		if !strings.HasSuffix(s, " unchanged") {
			t.Errorf("second run: %s", s)
		}
	}
	second := inspect(t, engine, controllerName)
	if second.ID != first.ID || second.State.StartedAt != first.State.StartedAt {
		t.Error("the second run touched the container")
	}
	if diff := cmp.Diff(files, tree(t, g.root)); diff != "" {
		t.Errorf("the second run changed files:\n%s", diff)
	}
}

func TestApplyReplacesRestartsAndRepairs(t *testing.T) {
	g, bed, engine := realGuest(t)
	g.want(0, nil)
	first := inspect(t, engine, controllerName)

	g.set("controller_image", bed.Registry+"/felhom/controller:v2")
	g.want(0, []string{"replaced"})
	second := inspect(t, engine, controllerName)
	if second.ID == first.ID || !strings.HasSuffix(second.Config.Image, ":v2") {
		t.Errorf("after the change it is %s of %s", second.ID, second.Config.Image)
	}
	if _, err := engine.ContainerInspect(t.Context(), first.ID); err == nil {
		t.Error("the old container is still there")
	}

	g.set("hub_url", "https://other-hub.example")
	g.want(0, []string{"restarted for the new settings"})
	third := inspect(t, engine, controllerName)
	if third.ID != second.ID || third.State.StartedAt == second.State.StartedAt {
		t.Error("new settings must restart the same container")
	}

	if err := engine.ContainerStop(t.Context(), third.ID, stopSoon); err != nil {
		t.Fatal(err)
	}
	g.want(0, []string{"it was exited; started"})
	if after := inspect(t, engine, controllerName); after.ID != third.ID || !after.State.Running {
		t.Errorf("after the repair: %+v", after.State)
	}
}

func TestUnmanagedContainerIsRefusedAndLeftAlone(t *testing.T) {
	g, bed, engine := realGuest(t)
	pullV1(t, bed, engine)
	id, err := engine.Run(t.Context(), controllerName, &container.Config{Image: bed.Registry + "/felhom/controller:v1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := inspect(t, engine, id)
	g.want(3, []string{"was not created by the bootstrapper", id[:12], before.Config.Image, "hint: it was left alone"})
	if after := inspect(t, engine, controllerName); after.ID != id || after.State.StartedAt != before.State.StartedAt {
		t.Error("the unmanaged container was touched")
	}
}

func TestFirstContainerOnATakenPortIsRemoved(t *testing.T) {
	g, bed, engine := realGuest(t)
	pullV1(t, bed, engine)
	taken := freeport.Address(t, bed.Address)
	hold(t, bed, engine, taken)
	g.ports(taken)
	g.want(5, []string{"hint: find who holds the port"})
	if _, err := engine.ContainerInspect(t.Context(), controllerName); err == nil {
		t.Error("the container that could not start was left behind")
	}
}

func TestRegistryDownAndImagePresent(t *testing.T) {
	g, bed, engine := realGuest(t)
	pullV1(t, bed, engine)
	down := freeport.Address(t, bed.Address) + "/felhom/controller"
	if err := engine.ImageTag(t.Context(), bed.Registry+"/felhom/controller:v1", down+":v1"); err != nil {
		t.Fatal(err)
	}
	defer forget(t, engine, down+":v1")
	g.set("controller_image", down+":v1", "registry", nil)
	g.want(0, []string{"present"})
}

// TestMirror pulls from another name and runs under the original one.
func TestMirror(t *testing.T) {
	g, bed, engine := realGuest(t)
	original := "registry.invalid/felhom/controller:v1"
	defer forget(t, engine, original)
	g.set("controller_image", original, "registry_mirror", bed.Registry)
	g.want(0, []string{"pulling " + bed.Registry})
	if c := inspect(t, engine, controllerName); c.Config.Image != original {
		t.Errorf("the container is of %s, want %s", c.Config.Image, original)
	}
}

// TestMirrorByDigest pulls by digest from another name, once: the older store
// knows the digest under the mirror's name alone.
func TestMirrorByDigest(t *testing.T) {
	g, bed, engine := realGuest(t)
	sample, err := bed.Image("v1")
	if err != nil {
		t.Fatal(err)
	}
	forget(t, engine, bed.Registry+"/felhom/controller@"+sample.ManifestDigest)
	g.set("controller_image", "registry.invalid/felhom/controller@"+sample.ManifestDigest, "registry_mirror", bed.Registry)
	g.want(0, nil)
	before := inspect(t, engine, controllerName)
	g.want(0, []string{"present"})
	if after := inspect(t, engine, controllerName); after.ID != before.ID {
		t.Errorf("container %s, then %s: replaced without a reason", before.ID, after.ID)
	}
}

// TestInterruptedReplacementHeals leaves what a killed run leaves behind.
func TestInterruptedReplacementHeals(t *testing.T) {
	g, _, engine := realGuest(t)
	g.want(0, nil)
	before := inspect(t, engine, controllerName)
	if err := engine.ContainerStop(t.Context(), before.ID, stopSoon); err != nil {
		t.Fatal(err)
	}
	if err := engine.ContainerRename(t.Context(), before.ID, controllerName+"-previous"); err != nil {
		t.Fatal(err)
	}
	g.want(0, []string{"put the previous container back"})
	if after := inspect(t, engine, controllerName); after.ID != before.ID || !after.State.Running {
		t.Errorf("after: %+v", after.State)
	}
}

func forget(t *testing.T, e *testbed.Engine, ref string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := e.RemoveImage(ctx, ref); err != nil {
		t.Fatal(err)
	}
}

func pullV1(t *testing.T, bed testbed.Bed, e *testbed.Engine) {
	t.Helper()
	token, err := bed.Token()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Pull(t.Context(), bed.Registry+"/felhom/controller:v1", bed.Username, token); err != nil {
		t.Fatal(err)
	}
}

// hold publishes a port by a container that the bootstrapper did not create.
func hold(t *testing.T, bed testbed.Bed, e *testbed.Engine, hostPort string) {
	t.Helper()
	address, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Run(t.Context(), bed.TestID(t),
		&container.Config{Image: bed.Registry + "/felhom/controller:v1", ExposedPorts: nat.PortSet{"8080/tcp": {}}},
		&container.HostConfig{PortBindings: nat.PortMap{"8080/tcp": {{HostIP: address, HostPort: port}}}})
	if err != nil {
		t.Fatal(err)
	}
}
