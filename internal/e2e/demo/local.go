package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

const controllerName = "felhom-controller"

func (d *demo) applyArgs(h *hostSide) []string {
	return []string{"--root", h.guest, "--docker-host", d.bed.DockerHost, "apply"}
}

// bootstrap runs the guest's program for the first time.
func (d *demo) bootstrap(ctx context.Context, h *hostSide) error {
	// The file that a golden image would have: ports are published only on the
	// bed's address, so that two demos do not conflict.
	spec := fmt.Sprintf("ports:\n  - %[1]s:8080:8080\n  - %[1]s:8081:8081\n", d.bed.Address)
	file := filepath.Join(h.guest, "etc/felhom/controller-container.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(spec), 0o644); err != nil {
		return err
	}
	start := time.Now()
	code, err := d.program(ctx, "felhom-controller-bootstrap", d.applyArgs(h)...)
	if err != nil {
		return err
	}
	d.check(code == 0, "the bootstrap is done: exit %d, want 0, in %v", code, time.Since(start).Round(10*time.Millisecond))
	settings := filepath.Join(h.guest, "opt/docker/felhom-controller/controller.yaml")
	info, err := os.Stat(settings)
	d.check(err == nil && info.Mode().Perm() == 0o600, "%s is written, for root only", d.short(settings))
	return nil
}

// controller looks at the container with its own client, and at its page.
func (d *demo) controller(ctx context.Context) (testbed.Container, error) {
	engine, err := testbed.NewEngine(d.bed.DockerHost)
	if err != nil {
		return testbed.Container{}, err
	}
	defer engine.Close()
	c, err := engine.ContainerInspect(ctx, controllerName)
	if err != nil {
		return c, err
	}
	health := "none"
	if c.State.Health != nil {
		health = c.State.Health.Status
	}
	d.say("container  %s %.12s\nimage      %s\nstate      %s, health %s, restarts %d\n",
		strings.TrimPrefix(c.Name, "/"), c.ID, c.Config.Image, c.State.Status, health, c.RestartCount)
	d.check(c.State.Running && health == "healthy", "the container runs and is healthy")

	return c, d.page(ctx, "http://"+d.bed.Address+":8080/")
}

func get(ctx context.Context, url string) (_ string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return string(body), err
}

// again runs the bootstrapper a second time.
func (d *demo) again(ctx context.Context, h *hostSide, before testbed.Container) error {
	settings := filepath.Join(h.guest, "opt/docker/felhom-controller/controller.yaml")
	old, err := os.Stat(settings)
	if err != nil {
		return err
	}
	start := time.Now()
	code, err := d.program(ctx, "felhom-controller-bootstrap", d.applyArgs(h)...)
	if err != nil {
		return err
	}
	d.check(code == 0, "the second run is done: exit %d, want 0, in %v", code, time.Since(start).Round(time.Millisecond))
	engine, err := testbed.NewEngine(d.bed.DockerHost)
	if err != nil {
		return err
	}
	defer engine.Close()
	after, err := engine.ContainerInspect(ctx, controllerName)
	if err != nil {
		return err
	}
	d.check(after.ID == before.ID && after.State.StartedAt == before.State.StartedAt && after.RestartCount == before.RestartCount,
		"the same container still runs, never restarted")
	now, err := os.Stat(settings)
	d.check(err == nil && os.SameFile(old, now) && now.ModTime().Equal(old.ModTime()), "controller.yaml was left alone")
	return nil
}

// removeController removes the container, also from an engine that the demo did not start.
func (d *demo) removeController() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	engine, err := testbed.NewEngine(d.bed.DockerHost)
	if err != nil {
		return err
	}
	defer engine.Close()
	err = engine.Remove(ctx, controllerName)
	image, imageErr := d.bed.Image("v1")
	if imageErr == nil {
		imageErr = engine.RemoveImage(ctx, image.Reference)
	}
	return errors.Join(err, imageErr)
}
