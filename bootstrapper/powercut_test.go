package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/felhom/felhom-golden/bootstrapper/internal/bootstrap"
	"github.com/felhom/felhom-golden/internal/driver/docker/dockertest"
	"github.com/felhom/felhom-golden/internal/powercut"
	"github.com/felhom/felhom-golden/internal/soak"
)

// cutRun is a run that the power may fail in. The next boot has the same bootstrap.json.
type cutRun struct {
	hub, tag string
	code     int
	runs     string // tag of what runs afterwards
	ended    int    // number of operations

	config   map[string]any
	settings string // controller.yaml afterwards
}

// The power is cut after each operation of a guest's runs: the first one, two changes of image and settings, and
// one between them that is rolled back. The next boot ends as the run would have: with its controller, or with the
// one that was ready last, each with its own settings, and nothing is left over.
func TestPowerCut(t *testing.T) {
	random, _ := soak.Start(t, 1)
	g, e := fakeGuest(t)
	var mu sync.Mutex
	engine := []dockertest.State{e.State()} // by number of operations
	c := powercut.NewDisk(t)
	c.Noted = func(int) {
		mu.Lock()
		defer mu.Unlock()
		engine = append(engine, e.State())
	}
	g = g.at(c.Mount(t), e)
	first := c.Length()
	engineAt := func(changes int) dockertest.State { // the race detector does not see the order that the kernel keeps
		mu.Lock()
		defer mu.Unlock()
		return engine[changes]
	}
	runs := []cutRun{
		{hub: "one", tag: "v1", runs: "v1"},
		{hub: "two", tag: "v2", runs: "v2"},
		{hub: "three", tag: "unhealthy", code: 3, runs: "v2"},
		{hub: "four", tag: "v3", runs: "v3"},
	}
	for i := range runs {
		r := &runs[i]
		g.set("controller_image", testImage+r.tag, "hub_url", "https://"+r.hub+".example")
		g.want(r.code, nil, "--ready-wait", "2m")
		wantRunning(t, e, r.runs)
		r.ended, r.config, r.settings = c.Length(), maps.Clone(g.config), g.settings()
	}
	if runs[1].settings != runs[2].settings || runs[0].settings == runs[1].settings {
		t.Fatalf("the settings are\n%s\n%s\n%s", runs[0].settings, runs[1].settings, runs[2].settings)
	}
	_, second := fakeGuest(t)
	cuts := 0
	c.Cuts(t, first, func(cut powercut.Cut) {
		k := slices.IndexFunc(runs, func(r cutRun) bool { return cut.After <= r.ended })
		if !soak.IsLong() && cut.After != runs[k].ended && random.IntN(30) > 0 { // a part of them
			return
		}
		cuts++
		dir := t.TempDir()
		cut.Write(t, dir)
		if err := os.RemoveAll(filepath.Join(dir, "run")); err != nil { // it is in memory
			t.Fatal(err)
		}
		next := g.at(dir, second)
		next.config = runs[k].config
		next.set()
		second.Boot(engineAt(cut.After))
		if code, said := next.apply("--ready-wait", "2m"); code != runs[k].code {
			t.Errorf("run %d, %s: exit code %d, want %d:\n%s", k, cut.Name, code, runs[k].code, said)
		}
		wantRunning(t, second, runs[k].runs)
		if got := next.settings(); got != runs[k].settings {
			t.Errorf("run %d, %s: controller.yaml is\n%s\nwant\n%s", k, cut.Name, got, runs[k].settings)
		}
		if got := filesOf(t, dir); !slices.Equal(got, afterRun) {
			t.Errorf("run %d, %s: files %v, want %v", k, cut.Name, got, afterRun)
		}
		if t.Failed() {
			t.Logf("run %d, %s", k, cut.Name)
		}
	})
	t.Logf("%d operations, %d cuts", c.Length()-first, cuts)
	if c.Length()-first < 60 {
		t.Errorf("%d operations: they were not noted", c.Length()-first)
	}
}

// at returns the guest with another root and engine.
func (g *guest) at(root string, e *dockertest.Engine) *guest {
	g.t.Helper()
	for _, dir := range []string{bootstrap.MountDir, "etc/felhom", "run"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			g.t.Fatal(err)
		}
	}
	return &guest{t: g.t, root: root, dockerHost: e.Host, host: g.host, config: g.config}
}
