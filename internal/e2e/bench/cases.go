package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

const (
	vmid          = "8200"
	containerName = "felhom-controller"
	mappedRoot    = 100000 // the guest's group 0, as agentd writes the mount
)

// Who is measured.
const (
	floorPull  = "floor: pull, create, start"
	floorKnown = "floor: create, start"
	floorLook  = "floor: one inspect"
	spike      = "shell spike"
	felhom     = "felhom-controller-bootstrap"
	felhomOld  = "the other one (-before)"
)

// What is measured.
const (
	cold = "cold: image not there"
	warm = "warm: image there, no container"
	noop = "again: everything there"
)

// contestant is one way to do one case.
type contestant struct {
	name string
	argv []string
	env  []string
	want int // exit status
}

// isBootstrapper reports whether c is a felhom-controller-bootstrap.
func (c contestant) isBootstrapper() bool { return c.name == felhom || c.name == felhomOld }

// field is what is measured on, prepared.
type field struct {
	engine       *testbed.Engine
	image        string
	guest        string // root directory of the guest
	scratch      string
	measure      string // binary
	dist         string
	cases        map[string][]contestant
	order        []string
	bootstrapped bool // the container is one of felhom-controller-bootstrap
}

// prepare builds the two small programs, adds the guest and copies its mount.
func prepare(ctx context.Context, bed testbed.Bed, o options, settings host.Settings, daemon *host.Host) (*field, error) {
	image, err := bed.Image(o.image)
	if err != nil {
		return nil, err
	}
	engine, err := testbed.NewEngine(bed.DockerHost)
	if err != nil {
		return nil, err
	}
	f := &field{
		engine: engine, image: image.Reference, guest: settings.GuestRoot(vmid),
		scratch: settings.Dir, measure: filepath.Join(settings.Dir, "measure"), dist: o.dist, order: []string{cold, warm, noop},
	}
	floor := filepath.Join(settings.Dir, "floor")
	for binary, source := range map[string]string{floor: "floor", f.measure: "measure"} {
		if err := goBuild(ctx, binary, source); err != nil {
			return nil, err
		}
	}
	if _, err := run.Run(ctx, run.Cmd{Path: settings.Binary, Args: []string{"--config", daemon.Config, "guest", "add", vmid}}); err != nil {
		return nil, err
	}
	mount := filepath.Join(f.guest, "etc/felhom-bootstrap")
	if err := copyMount(daemon.Mount(vmid), mount); err != nil {
		return nil, err
	}
	container := fmt.Sprintf("ports: [%q, %q]\n", bed.Address+":8080:8080", bed.Address+":8081:8081")
	if err := writeFile(filepath.Join(f.guest, "etc/felhom/controller-container.yaml"), []byte(container), 0o644); err != nil {
		return nil, err
	}
	script, err := filepath.Abs("testdata/spike/felhom-controller-bootstrap.sh")
	if err != nil {
		return nil, err
	}
	bootstrap := filepath.Join(mount, "bootstrap.json")
	spiked := contestant{name: spike, argv: []string{"/bin/sh", script}, env: []string{
		"DOCKER_HOST=" + bed.DockerHost, "DOCKER_CONFIG=" + filepath.Join(settings.Dir, "docker-config"),
		"FELHOM_SPIKE_CONFIG=" + bootstrap, "FELHOM_SPIKE_SETTINGS=" + filepath.Join(settings.Dir, "spike-settings"),
		"FELHOM_SPIKE_PORT8080=" + bed.Address + ":8080", "FELHOM_SPIKE_PORT8081=" + bed.Address + ":8081",
	}}
	floorOf := func(name, mode string) contestant {
		return contestant{name: name, argv: []string{floor, mode, bed.DockerHost, bootstrap, filepath.Join(settings.Dir, "floor-settings"), bed.Address}}
	}
	own := contestant{name: felhom, argv: []string{
		filepath.Join(o.dist, "felhom-controller-bootstrap"), "--root", f.guest, "--docker-host", bed.DockerHost, "apply",
	}}
	if o.before != "" {
		old := own
		old.name, old.argv = felhomOld, append([]string{o.before}, own.argv[1:]...)
		f.order = []string{warm, noop}
		f.cases = map[string][]contestant{warm: {floorOf(floorPull, "pull"), old, own}, noop: {floorOf(floorLook, "running"), old, own}}
		return f, nil
	}
	fails := spiked
	fails.want = 125 // the name is taken: the spike fails with that if it runs twice
	f.cases = map[string][]contestant{
		cold: {floorOf(floorPull, "pull"), spiked, own},
		warm: {floorOf(floorPull, "pull"), floorOf(floorKnown, "known"), spiked, own},
		noop: {floorOf(floorLook, "running"), fails, own},
	}
	return f, nil
}

// goBuild builds one of the small programs.
func goBuild(ctx context.Context, binary, source string) error {
	_, err := run.Run(ctx, run.Cmd{
		Path: "go",
		Args: []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", binary, "github.com/felhom/felhom-golden/internal/e2e/bench/" + source},
		Env:  append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS="),
	})
	return err
}

// copyMount gives the guest its mount with the owner and modes that the host
// wrote; a bind mount would do the same and would have to be undone.
func copyMount(from, to string) error {
	data, err := os.ReadFile(filepath.Join(from, "bootstrap.json"))
	if err != nil {
		return err
	}
	file := filepath.Join(to, "bootstrap.json")
	return errors.Join(writeFile(file, data, 0o640), os.Chmod(to, 0o750), os.Chown(to, 0, mappedRoot), os.Chown(file, 0, mappedRoot))
}

func writeFile(name string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, data, mode)
}

// sample is what one run cost.
type sample struct {
	Wall     time.Duration `json:"wall_ns"`
	CPU      time.Duration `json:"cpu_ns"`
	RSS      int64         `json:"rss_kib"`
	ExitCode int           `json:"exit_code"`
	// Started is Wall without the wait for the health test, which the others do
	// not have: for them a container is done as soon as it was started.
	Started time.Duration `json:"-"`
}

// samples are by case and contestant.
type samples map[string]map[string][]sample

func (s samples) add(c, name string, one sample) {
	if s == nil {
		return
	}
	if s[c] == nil {
		s[c] = map[string][]sample{}
	}
	s[c][name] = append(s[c][name], one)
}

// round runs each contestant in each case once. Another one begins each round,
// so that none always runs on a machine that another has just warmed.
func (f *field) round(ctx context.Context, round int, counted samples) error {
	for _, c := range f.order {
		contestants := f.cases[c]
		for i := range contestants {
			one := contestants[(i+round)%len(contestants)]
			if err := f.ready(ctx, c, one); err != nil {
				return fmt.Errorf("%s, %s: %w", c, one.name, err)
			}
			got, err := f.take(ctx, one)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c, one.name, err)
			}
			counted.add(c, one.name, got)
		}
	}
	return nil
}

// ready brings the engine into the state that the case begins with.
func (f *field) ready(ctx context.Context, c string, one contestant) error {
	switch c {
	case cold:
		return f.clear(ctx, true)
	case warm:
		return f.clear(ctx, false)
	}
	// The second run must meet the bootstrapper's own container, not that of another contestant.
	if _, err := f.engine.ContainerInspect(ctx, containerName); err == nil && (f.bootstrapped || !one.isBootstrapper()) {
		return nil
	}
	if err := f.clear(ctx, false); err != nil {
		return err
	}
	starter := one
	if !one.isBootstrapper() {
		cases := f.cases[warm]
		starter = cases[len(cases)-1]
	}
	_, err := f.take(ctx, starter)
	return err
}

func (f *field) clear(ctx context.Context, imageToo bool) error {
	f.bootstrapped = false
	err := f.engine.Remove(ctx, containerName)
	if imageToo && err == nil {
		err = f.engine.RemoveImage(ctx, f.image)
	}
	return err
}

// take runs a contestant once and reads what it cost.
func (f *field) take(ctx context.Context, c contestant) (sample, error) {
	s, said, err := measured(ctx, f.measure, filepath.Join(f.scratch, "cost.json"), c.argv, c.env)
	if err != nil {
		return s, err
	}
	if s.ExitCode != c.want {
		return s, fmt.Errorf("exit status %d, want %d\n%s", s.ExitCode, c.want, said)
	}
	s.Started = s.Wall
	if c.isBootstrapper() {
		f.bootstrapped = true
		waited, err := readyStep(filepath.Join(f.guest, "var/lib/felhom/bootstrap-result.json"))
		if err != nil {
			return s, err
		}
		s.Started -= waited
	}
	return s, nil
}

// measured runs argv under the measuring program, and returns its cost and its
// output.
func measured(ctx context.Context, measure, result string, argv, env []string) (s sample, said []byte, err error) {
	cmd := exec.CommandContext(ctx, measure, append([]string{result}, argv...)...)
	cmd.Env = append(os.Environ(), env...)
	// The measured program has children: a cancel ends all of them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	said, err = cmd.CombinedOutput()
	if err != nil {
		return s, said, fmt.Errorf("%w\n%s", err, said)
	}
	data, err := os.ReadFile(result)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, said, err
}

// readyStep returns how long the run waited for the health test.
func readyStep(file string) (time.Duration, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	var result struct {
		Steps []struct {
			Step       string  `json:"step"`
			DurationMS float64 `json:"duration_ms"`
		} `json:"steps"`
	}
	if err := json.Unmarshal(data, &result); err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	for _, s := range result.Steps {
		if s.Step == "ready" {
			return time.Duration(s.DurationMS * float64(time.Millisecond)), nil
		}
	}
	return 0, fmt.Errorf("%s: no step ready", file)
}
