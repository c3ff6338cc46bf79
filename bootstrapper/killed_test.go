package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
	"github.com/felhom/felhom-golden/internal/soak"
)

// afterRun are the files of a guest's root after a run; an engine's socket is not in it.
var afterRun = []string{
	"etc/felhom-bootstrap/bootstrap.json",
	"opt/docker/felhom-controller/controller.yaml",
	"run/felhom-controller-bootstrap.lock",
	"var/lib/felhom/bootstrap-result.json",
	"var/lib/felhom/last-good-controller.yaml",
	"var/lib/felhom/last-good.json",
}

// filesOf lists the files below dir.
func filesOf(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, _ := filepath.Rel(dir, path)
			out = append(out, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// TestKilledApplyAtRandom ends changes of the image by SIGKILL anywhere: at no
// time do two controllers run, a plain run converges, and nothing is left over.
func TestKilledApplyAtRandom(t *testing.T) {
	t.Parallel()
	random, rounds := soak.Start(t, 8)
	engine := dockertest.Start(t)
	engine.Push("reg.example/c:v1", "reg.example/c:v2")
	g := newGuest(t, t.TempDir(), engine.Host)
	g.set("controller_image", "reg.example/c:v1")
	g.want(0, nil)
	images := []string{"reg.example/c:v1", "reg.example/c:v2"}
	apply := func() *exec.Cmd {
		return exec.CommandContext(t.Context(), program, "apply", "--root", g.root, "--docker-host", g.dockerHost)
	}
	g.set("controller_image", images[1])
	started := time.Now()
	if said, err := apply().CombinedOutput(); err != nil {
		t.Fatalf("%v:\n%s", err, said)
	}
	full := time.Since(started)
	for i := range rounds {
		image := images[i%2]
		g.set("controller_image", image)
		what := soak.Kill(t, apply(), random, full)
		if running := runningOf(engine); len(running) > 1 {
			t.Fatalf("round %d, %s: after that run %v: two controllers at once", i, what, running)
		}
		g.want(0, nil)
		id, is, status := engine.Container("felhom-controller")
		if id == "" || is != image || status != "running" {
			t.Fatalf("round %d: %s of %s is %q, want it running of %s", i, id, is, status, image)
		}
		for _, suffix := range []string{"-next", "-previous"} {
			if left, _, _ := engine.Container("felhom-controller" + suffix); left != "" {
				t.Errorf("round %d: felhom-controller%s is left over", i, suffix)
			}
		}
		if got := filesOf(t, g.root); !slices.Equal(got, afterRun) {
			t.Fatalf("round %d: files %v, want %v", i, got, afterRun)
		}
	}
}

// runningOf returns the names of the bootstrapper's containers that run.
func runningOf(e *dockertest.Engine) (out []string) {
	for _, name := range []string{"felhom-controller", "felhom-controller-next", "felhom-controller-previous"} {
		if _, _, status := e.Container(name); status == "running" || status == "restarting" {
			out = append(out, name)
		}
	}
	return out
}
