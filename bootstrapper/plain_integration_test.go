//go:build integration

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/freeport"
)

// plainContainer is what the engine has of a container, beside testbed.Container.
type plainContainer struct {
	Config struct {
		Env    []string
		Cmd    []string
		Labels map[string]string
	}
	HostConfig struct {
		Binds        []string
		PortBindings map[string][]struct{ HostIP, HostPort string }
	}
	Mounts []any
}

func plainOf(t *testing.T, e *testbed.Engine) plainContainer {
	t.Helper()
	_, raw, err := e.ContainerInspectWithRaw(t.Context(), controllerName, false)
	if err != nil {
		t.Fatal(err)
	}
	var c plainContainer
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// exposing imports an image that exposes port alone, and returns its reference. The
// sample images expose fixed ports, which another run on this machine may have.
func exposing(t *testing.T, bed testbed.Bed, e *testbed.Engine, port string) string {
	t.Helper()
	program, err := os.ReadFile(filepath.Join(bed.Dir, "controller"))
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err = w.WriteHeader(&tar.Header{Name: "controller", Mode: 0o755, Size: int64(len(program))})
	_, writeErr := w.Write(program)
	if err := errors.Join(err, writeErr, w.Close()); err != nil {
		t.Fatal(err)
	}
	tag := strings.ToLower(bed.TestID(t))
	reference := bed.Registry + "/felhom/exposes:" + tag
	query := url.Values{
		"fromSrc": {"-"}, "repo": {bed.Registry + "/felhom/exposes"}, "tag": {tag},
		"changes": {"EXPOSE " + port, `ENTRYPOINT ["/controller"]`, `HEALTHCHECK --interval=1s CMD ["/controller", "-health"]`},
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://engine/images/create?"+query.Encode(), &layer)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-tar")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(bed.DockerHost, "unix://"))
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK || bytes.Contains(answer, []byte(`"error"`)) {
		t.Fatalf("import the image: %v: %s: %s", err, resp.Status, answer)
	}
	t.Cleanup(func() { forget(t, e, reference) })
	return reference
}

// A plain container gets what was asked for and nothing else; what the golden image
// and the host say is merged; a new token touches nothing.
func TestApplyPlain(t *testing.T) {
	g, bed, engine := realGuest(t)
	port := freeport.Address(t, bed.Address)
	g.write("etc/felhom/controller-container.yaml", "environment: {A: golden, B: golden}\nlabels: [com.example.a=golden]\n")
	g.set("profile", "plain", "hub_url", nil, "host_id", nil, "container", map[string]any{
		"ports": []string{port + ":8080"}, "environment": map[string]string{"B": "host"}, "labels": map[string]string{"com.example.b": "host"},
		"command": []string{"-settings", "/none"},
	})
	g.want(0, nil)
	want := []string{"mount unchanged", "channel unchanged", "engine unchanged", "container changed", "ready changed"}
	got := slices.DeleteFunc(g.outcomes(), func(s string) bool { return strings.HasPrefix(s, "image ") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	c := plainOf(t, engine)
	if len(c.HostConfig.Binds) != 0 || len(c.Mounts) != 0 {
		t.Errorf("binds %v, mounts %v, want none", c.HostConfig.Binds, c.Mounts)
	}
	if !slices.Contains(c.Config.Env, "A=golden") || !slices.Contains(c.Config.Env, "B=host") || !slices.Equal(c.Config.Cmd, []string{"-settings", "/none"}) {
		t.Errorf("variables %v, command %v", c.Config.Env, c.Config.Cmd)
	}
	if c.Config.Labels["com.example.a"] != "golden" || c.Config.Labels["com.example.b"] != "host" || c.Config.Labels["org.felhom.bootstrap"] != "controller" {
		t.Errorf("labels %v", c.Config.Labels)
	}
	if _, err := os.Lstat(filepath.Join(g.root, "opt/docker/felhom-controller/controller.yaml")); err == nil {
		t.Error("there is a controller.yaml")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+port+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()

	first := inspect(t, engine, controllerName)
	g.set("x_note", "the file changed, and nothing that the container has")
	g.want(0, nil)
	if now := inspect(t, engine, controllerName); now.ID != first.ID || now.State.StartedAt != first.State.StartedAt {
		t.Error("a change of the file alone touched the container")
	}
	g.set("container", map[string]any{"ports": []string{port + ":8080"}, "environment": map[string]string{"B": "other"}})
	g.want(0, []string{"replaced"})
}

// Without ports, those that the image exposes are published, or a note says that nothing is.
func TestApplyPlainPublishesWhatTheImageExposes(t *testing.T) {
	g, bed, engine := realGuest(t)
	if err := os.Remove(filepath.Join(g.root, "etc/felhom/controller-container.yaml")); err != nil {
		t.Fatal(err)
	}
	g.set("profile", "plain")
	_, port, err := net.SplitHostPort(freeport.Address(t, "0.0.0.0"))
	if err != nil {
		t.Fatal(err)
	}
	g.set("controller_image", exposing(t, bed, engine, port+"/tcp"))
	g.want(0, nil)
	c := plainOf(t, engine)
	text, _ := json.Marshal(c.HostConfig.PortBindings)
	if bound := c.HostConfig.PortBindings[port+"/tcp"]; len(c.HostConfig.PortBindings) != 1 || len(bound) != 1 || bound[0].HostPort != port {
		t.Errorf("published are %s, want %s", text, port)
	}
	// An empty list publishes nothing, and the note says so.
	g.set("container", map[string]any{"ports": []string{}})
	g.want(0, []string{"nothing outside of this guest reaches it, because it publishes no port: ports is an empty list"})
	if c := plainOf(t, engine); len(c.HostConfig.PortBindings) != 0 {
		t.Errorf("published are %v, want none", c.HostConfig.PortBindings)
	}
}

// A mistake in the golden image's file is reported to the host, with its place.
func TestWrongContainerFileIsReported(t *testing.T) {
	g, _, _ := realGuest(t)
	g.write("etc/felhom/controller-container.yaml", "ports: []\nvolums: [x]\n")
	g.want(3, []string{"controller-container.yaml:2:1: error: volums: unknown key; did you mean", "hint: correct controller.container in the recipe"})
	g.host.mu.Lock()
	defer g.host.mu.Unlock()
	if !slices.ContainsFunc(g.host.reports, func(r contract.Report) bool {
		return r.Step == "container" && r.State == "failed" && strings.Contains(r.Message, "volums") && strings.Contains(r.Hint, "recipe")
	}) {
		t.Errorf("the host was not told: %+v", g.host.reports)
	}
}
