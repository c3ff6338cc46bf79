//go:build integration

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/freeport"
)

// faultsBesideWhatRan are faults of a change while a controller runs. Those of
// the catalogue have its names.
var faultsBesideWhatRan = []struct {
	name  string
	spoil func(t *testing.T, g *guest, bed testbed.Bed, e *testbed.Engine)
	want  wantFault
}{
	{"unknown tag", func(_ *testing.T, g *guest, bed testbed.Bed, _ *testbed.Engine) {
		g.set("controller_image", bed.Registry+"/felhom/controller:nope")
	}, imageFault(1, 3, "the registry has no such image", "manifest unknown|controller:nope: not found")},
	{"other digest", func(_ *testing.T, g *guest, bed testbed.Bed, _ *testbed.Engine) {
		g.set("controller_image", bed.Registry+"/felhom/controller:v2", "controller_image_manifest_digest", "sha256:"+strings.Repeat("0", 64))
	}, imageFault(4, 1, "the registry gives another image", "want manifest digest sha256:0000", "got sha256:")},
	{"port taken", func(t *testing.T, g *guest, bed testbed.Bed, e *testbed.Engine) {
		taken := freeport.Address(t, bed.Address)
		hold(t, bed, e, taken)
		g.ports(taken)
	}, containerFault(3, "find who holds the port")},
	{"exits at once", func(_ *testing.T, g *guest, bed testbed.Bed, _ *testbed.Engine) {
		g.set("controller_image", bed.Registry+"/felhom/controller:exits")
	}, wantFault{step: contract.StepReady, code: 3, hint: "correct the image", words: []string{"it ended 3 times, last with exit code 3", "told to exit at once", "the previous container runs again"}}},
	{"unhealthy", func(_ *testing.T, g *guest, bed testbed.Bed, _ *testbed.Engine) {
		g.set("controller_image", bed.Registry+"/felhom/controller:unhealthy")
	}, wantFault{step: contract.StepReady, code: 3, hint: "correct the image", words: []string{"its health test says unhealthy|health starting", "the previous container runs again"}}},
	{"invalid contract", func(_ *testing.T, g *guest, _ testbed.Bed, _ *testbed.Engine) {
		g.write("etc/felhom-bootstrap/bootstrap.json", `{"hub_url": 1}`)
	}, wantFault{step: contract.StepMount, untold: true, code: 3, hint: "correct the file on the host", words: []string{"bootstrap.json:1:13: error: hub_url"}}},
	{"host refuses the token", func(_ *testing.T, g *guest, _ testbed.Bed, _ *testbed.Engine) {
		g.host.mu.Lock()
		g.host.status = 401
		g.host.mu.Unlock()
	}, wantFault{step: contract.StepChannel, code: 4, hint: "the host does not know the token", words: []string{"the host answers 401"}}},
	{"wrong pin", func(_ *testing.T, g *guest, _ testbed.Bed, _ *testbed.Engine) {
		g.set("local_api_pin_spki_sha256", "uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM=")
	}, wantFault{step: contract.StepChannel, untold: true, code: 4, hint: "another server answers", words: []string{"uSSmg6cuEJj9CF7hiBdQ5OEJKOs0NszXJXjRNBwq8DM="}}},
	{"template wrong", func(_ *testing.T, g *guest, _ testbed.Bed, _ *testbed.Engine) {
		g.write("etc/felhom/controller.yaml.tmpl", "a: {{.Nope}}\n")
	}, wantFault{step: contract.StepSettings, code: 3, hint: "correct the template", words: []string{"controller.yaml.tmpl:1:5"}}},
	{"spec wrong", func(_ *testing.T, g *guest, _ testbed.Bed, _ *testbed.Engine) {
		g.write("etc/felhom/controller-container.yaml", "ports: [\"99999:8080\"]\nmemory: 1m\n")
	}, containerFault(3, "correct controller.container in the recipe", `"99999:8080" is not a published port`, "below the minimum of 6m")},
}

// TestFaultsLeaveWhatRanBefore provokes faults on the real engine while v1
// runs, and wants v1 running and its settings afterwards.
func TestFaultsLeaveWhatRanBefore(t *testing.T) {
	for _, test := range faultsBesideWhatRan {
		t.Run(test.name, func(t *testing.T) {
			g, bed, engine := realGuest(t)
			g.want(0, nil)
			before := inspect(t, engine, controllerName)
			settings, err := os.ReadFile(filepath.Join(g.root, "opt/docker/felhom-controller/controller.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			g.host.mu.Lock()
			g.host.reports = nil // of the run that succeeded
			g.host.mu.Unlock()
			test.spoil(t, g, bed, engine)
			g.assertFault(test.want, "--ready-wait", "20s")
			after := inspect(t, engine, controllerName)
			if after.ID != before.ID || !after.State.Running {
				t.Errorf("before %s, after %s running %v: what ran must run", before.ID, after.ID, after.State.Running)
			}
			now, err := os.ReadFile(filepath.Join(g.root, "opt/docker/felhom-controller/controller.yaml"))
			if err != nil || string(now) != string(settings) {
				t.Errorf("controller.yaml changed: %v", err)
			}
			for _, suffix := range []string{"-next", "-previous"} {
				if _, err := engine.ContainerInspect(t.Context(), controllerName+suffix); err == nil {
					t.Errorf("%s%s was left behind", controllerName, suffix)
				}
			}
		})
	}
}
