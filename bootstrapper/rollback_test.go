package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/bootstrapper/internal/bootstrap"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
)

const testImage = "reg.example/c:"

// fakeGuest is a guest on a fake engine that can pull each kind of image.
func fakeGuest(t *testing.T) (*guest, *dockertest.Engine) {
	t.Helper()
	dir, err := os.MkdirTemp("", "fcb") // a unix socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e := dockertest.StartAt(t, filepath.Join(dir, "e.sock"))
	for _, tag := range []string{"v1", "v2", "v3", "starting", "unhealthy", "exits"} {
		e.Push(testImage + tag)
	}
	g := newGuest(t, t.TempDir(), e.Host)
	g.set("controller_image", testImage+"v1")
	return g, e
}

// wantRunning wants one controller, of the image with that tag, and nothing beside it.
func wantRunning(t *testing.T, e *dockertest.Engine, tag string) (id string) {
	t.Helper()
	id, image, status := e.Container(bootstrap.ContainerName)
	if image != testImage+tag || status != "running" {
		t.Errorf("the controller is of %q and %q, want %s, running", image, status, testImage+tag)
	}
	for _, suffix := range []string{"-next", "-previous"} {
		if _, image, status := e.Container(bootstrap.ContainerName + suffix); status != "" {
			t.Errorf("%s%s of %s is left, %s", bootstrap.ContainerName, suffix, image, status)
		}
	}
	return id
}

// interrupt ends a run as a kill does, once the new container has its name, or runs.
func (g *guest) interrupt(e *dockertest.Engine, ref string, runs bool) {
	g.t.Helper()
	g.set("controller_image", ref)
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	done := g.start(ctx, "--ready-wait", "1h")
	g.await(e, ref, runs, done)
	cancel()
	<-done
}

// interruptWait ends a run while it waits for a new controller of that image. Before
// that, an interrupt undoes the change.
func (g *guest) interruptWait(ref string) {
	g.t.Helper()
	g.set("controller_image", ref)
	g.killInWait()
}

// await waits until the controller is of that image, and runs. The program must not
// end before.
func (g *guest) await(e *dockertest.Engine, ref string, runs bool, ended <-chan int) {
	g.t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		if _, image, status := e.Container(bootstrap.ContainerName); image == ref && (!runs || status == "running") {
			return
		}
		select {
		case code := <-ended:
			g.t.Fatalf("the run ended with %d, and the new container was not started", code)
		case <-look.C:
		}
	}
}

// start runs the program in the background; the channel gets its exit code.
func (g *guest) start(ctx context.Context, args ...string) <-chan int {
	done := make(chan int, 1)
	go func() {
		var stdout, stderr bytes.Buffer
		done <- run(ctx, append([]string{program, "apply", "--root", g.root, "--docker-host", g.dockerHost}, args...), &stdout, &stderr)
	}()
	return done
}

// A rollback returns to the controller that was ready last, and never to one that
// was only started, however often a run was killed since.
func TestRollbackAfterKills(t *testing.T) {
	for _, kills := range []string{"", "runs", "placed", "runs, runs", "placed, placed", "runs, placed, runs"} {
		t.Run(kills, func(t *testing.T) {
			g, e := fakeGuest(t)
			g.want(0, nil)
			first := wantRunning(t, e, "v1")
			for i, kill := range strings.Split(kills, ", ") {
				if kill == "" {
					continue
				}
				ref := fmt.Sprintf("reg.example/c%d:starting", i)
				e.Push(ref)
				g.interrupt(e, ref, kill == "runs")
			}
			g.set("controller_image", testImage+"unhealthy")
			g.want(3, []string{"the previous container runs again and is ready; down for "}, "--ready-wait", "20s")
			if id := wantRunning(t, e, "v1"); id != first {
				t.Errorf("it is another container: %.12s, want %.12s", id, first)
			}
		})
	}
}

// A first controller that was never ready is nothing to return to.
func TestNoRollbackToOneThatWasNeverReady(t *testing.T) {
	g, e := fakeGuest(t)
	g.set("controller_image", testImage+"starting")
	g.want(5, []string{"not ready after"}, "--ready-wait", "50ms")
	g.set("controller_image", testImage+"unhealthy")
	g.want(5, []string{"its health test says unhealthy"}, "--ready-wait", "20s")
	wantRunning(t, e, "unhealthy")
	g.set("controller_image", testImage+"v1")
	g.want(0, nil)
	wantRunning(t, e, "v1")
}

// The next boot has the same bootstrap.json. A change that was rolled back stops the good
// controller no second time, and the host hears why it does not run.
func TestRolledBackChangeIsTriedOnce(t *testing.T) {
	g, e := fakeGuest(t)
	g.want(0, nil)
	first := wantRunning(t, e, "v1")
	g.set("controller_image", testImage+"unhealthy")
	g.want(3, nil)
	_ = e.Calls()
	said := g.want(3, []string{"not tried again, because it was rolled back at ", "its health test says unhealthy", "hint: correct the image"})
	for _, call := range e.Calls() {
		if strings.HasSuffix(call, "/stop") || strings.HasSuffix(call, "/create") || strings.HasPrefix(call, "DELETE ") {
			t.Errorf("the second run does %s:\n%s", call, said)
		}
	}
	if id := wantRunning(t, e, "v1"); id != first {
		t.Error("the good controller was made again")
	}
	want := contract.StillRuns(testImage+"v1", "not tried again")
	if last := g.host.last(); !strings.HasPrefix(last.Message, want) {
		t.Errorf("the host hears %q, want it to begin with %q", last.Message, want)
	}
	if r := g.result(); r.Kept != testImage+"v1" {
		t.Errorf("kept is %q", r.Kept)
	}

	// Whatever the host writes is tried.
	g.set("hub_url", "https://other-hub.example")
	g.want(3, []string{"its health test says unhealthy", "the previous container runs again"})
	g.set("controller_image", testImage+"v2")
	g.want(0, nil)
	wantRunning(t, e, "v2")
	g.want(0, nil)
}

// The good controller was stopped by a run that was killed, and the next run fails
// before it comes to containers.
func TestGoodControllerIsStartedThoughTheRunFails(t *testing.T) {
	for name, spoil := range map[string]func(g *guest){
		"no such image":    func(g *guest) { g.set("controller_image", testImage+"missing") },
		"invalid contract": func(g *guest) { g.write("etc/felhom-bootstrap/bootstrap.json", `{"hub_url": 1}`) },
		"wrong container":  func(g *guest) { g.write("etc/felhom/controller-container.yaml", "memory: 1m\n") },
		"host refuses": func(g *guest) {
			g.host.mu.Lock()
			g.host.status = 401
			g.host.mu.Unlock()
		},
	} {
		for state, kill := range map[string]func(c *docker.Client, id string) error{
			"stopped": func(c *docker.Client, id string) error { return c.Stop(t.Context(), id, time.Second) },
			"put aside": func(c *docker.Client, id string) error {
				if err := c.Stop(t.Context(), id, time.Second); err != nil {
					return err
				}
				return c.Rename(t.Context(), id, bootstrap.ContainerName+"-previous")
			},
		} {
			t.Run(name+" "+state, func(t *testing.T) {
				g, e := fakeGuest(t)
				g.want(0, nil)
				id := wantRunning(t, e, "v1")
				c, err := docker.New(e.Host)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
				if err := kill(c, id); err != nil {
					t.Fatal(err)
				}
				spoil(g)
				if code, said := g.apply("--pull-patience", "1ms"); code == 0 {
					t.Fatalf("the run succeeded:\n%s", said)
				}
				if now := wantRunning(t, e, "v1"); now != id {
					t.Errorf("it is another container: %.12s, want %.12s", now, id)
				}
			})
		}
	}
}

// A run was ended while it waited for a new controller, and the next one fails before it could judge
// that one: the good controller is put aside, and no other run will return to it.
func TestGoodControllerRunsThoughNoRunJudgesTheNewOne(t *testing.T) {
	for name, spoil := range map[string]func(g *guest){
		"no such image":    func(g *guest) { g.set("controller_image", testImage+"missing") },
		"invalid contract": func(g *guest) { g.write("etc/felhom-bootstrap/bootstrap.json", `{"hub_url": 1}`) },
		"wrong container":  func(g *guest) { g.write("etc/felhom/controller-container.yaml", "memory: 1m\n") },
	} {
		t.Run(name, func(t *testing.T) {
			g, e := fakeGuest(t)
			g.want(0, nil)
			first := wantRunning(t, e, "v1")
			g.interruptWait(testImage + "starting")
			spoil(g)
			if code, said := g.apply("--pull-patience", "1ms"); code == 0 {
				t.Fatalf("the run succeeded:\n%s", said)
			}
			if id := wantRunning(t, e, "v1"); id != first {
				t.Errorf("it is another container: %.12s, want %.12s", id, first)
			}
		})
	}
}

// The same with a new controller that has become ready meanwhile: it stays.
func TestNewControllerThatBecameReadyStays(t *testing.T) {
	t.Parallel()
	g, e := fakeGuest(t)
	g.want(0, nil)
	e.Push(testImage + "nohealth")
	g.interruptWait(testImage + "nohealth")
	<-time.After(5 * time.Second) // without a health test it is ready after 4 s
	g.set("controller_image", testImage+"missing")
	if code, said := g.apply("--pull-patience", "1ms"); code == 0 {
		t.Fatalf("the run succeeded:\n%s", said)
	}
	if _, image, status := e.Container(bootstrap.ContainerName); image != testImage+"nohealth" || status != "running" {
		t.Errorf("the controller is of %q and %q, want the new one, running", image, status)
	}
}

// A change on the host ends the wait for a controller that it replaces anyway.
func TestChangeEndsTheWaitForReadiness(t *testing.T) {
	g, e := fakeGuest(t)
	g.want(0, nil)
	g.set("controller_image", testImage+"starting")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	code := g.start(ctx, "--keep-trying", "--host-patience", "1ms", "--ready-wait", "1h")
	g.await(e, testImage+"starting", true, code)
	g.set("controller_image", testImage+"v2")
	if got := <-code; got != 0 {
		t.Errorf("exit code %d, want 0", got)
	}
	wantRunning(t, e, "v2")
}

// Of the images that were used, the one in use and the one before stay.
func TestOldImagesAreRemoved(t *testing.T) {
	g, e := fakeGuest(t)
	step := func(tag string, code int, want ...string) {
		t.Helper()
		g.set("controller_image", testImage+tag)
		g.want(code, nil)
		for i := range want {
			want[i] = testImage + want[i]
		}
		if got := e.Images(); !slices.Equal(got, want) {
			t.Errorf("after %s the images are %q, want %q", tag, got, want)
		}
	}
	step("v1", 0, "v1")
	step("v2", 0, "v1", "v2")
	step("unhealthy", 3, "v1", "v2") // a corrected image with the same tag is then pulled
	step("v3", 0, "v2", "v3")
	step("v2", 0, "v2", "v3")
}

// The host reverts a change that a killed run had started: the container before is
// still there, and is not made again.
func TestRevertAfterAKill(t *testing.T) {
	t.Parallel()
	for _, runs := range []bool{false, true} {
		g, e := fakeGuest(t)
		g.want(0, nil)
		first := wantRunning(t, e, "v1")
		g.interrupt(e, testImage+"starting", runs)
		g.set("controller_image", testImage+"v1")
		g.want(0, nil)
		if id := wantRunning(t, e, "v1"); id != first {
			t.Error("the container was made again")
		}
		g.want(0, nil)
		for _, s := range g.outcomes() {
			if !strings.HasSuffix(s, " unchanged") {
				t.Errorf("the next run: %s", s)
			}
		}
	}
}

// What prevents a rollback once does not leave the guest with a controller that failed.
func TestRollbackIsRepeatedIfItFails(t *testing.T) {
	t.Parallel()
	for _, request := range []string{"DELETE /containers/", "POST /containers/0000000000000000000000000000000000000000000000000000000abc000001/rename"} {
		g, e := fakeGuest(t)
		g.want(0, nil)
		first := wantRunning(t, e, "v1")
		g.set("controller_image", testImage+"unhealthy")
		e.Fail(request, 500, "the engine is out of sorts")
		if code, said := g.apply(); code == 0 {
			t.Errorf("the run succeeded:\n%s", said)
		}
		if id := wantRunning(t, e, "v1"); id != first {
			t.Errorf("%s: it is another container", request)
		}
	}
}

// A damaged file makes no run fail, and touches no controller.
func TestDamagedMemory(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", `{"version":1,"container":7}`, `{"version":99,"container":"x"}`} {
		g, e := fakeGuest(t)
		g.want(0, nil)
		id := wantRunning(t, e, "v1")
		g.write(bootstrap.MemoryFile, text)
		g.want(0, nil)
		g.set("controller_image", testImage+"unhealthy")
		g.want(3, []string{"the previous container runs again"})
		if now := wantRunning(t, e, "v1"); now != id {
			t.Errorf("%q: it is another container", text)
		}
	}
}
