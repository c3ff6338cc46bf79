//go:build integration

package testbed_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"

	"github.com/felhom/felhom-golden/internal/e2e/engineapi"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

func TestRegistryDemandsCredentials(t *testing.T) {
	bed := testbed.FromEnv(t)
	engine := bed.Engine(t)
	image := imageOf(t, bed, "v2")
	token, err := bed.Token()
	if err != nil {
		t.Fatal(err)
	}
	bed.Lock(t)
	t.Cleanup(func() { _ = engine.RemoveImage(context.Background(), image.Reference) })
	tests := []struct {
		name           string
		user, password string
		wantErr        string // "" means none
	}{
		{"none", "", "", "no basic auth credentials"},
		{"wrong password", bed.Username, "wrong", "unauthorized"},
		{"wrong user", "nobody", token, "unauthorized"},
		{"right", bed.Username, token, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := engine.Pull(t.Context(), image.Reference, tt.user, tt.password)
			switch {
			case tt.wantErr == "" && err != nil:
				t.Errorf("pull: %v", err)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Errorf("pull: error %v, want one with %q", err, tt.wantErr)
			}
			if tt.wantErr != "" && err != nil && strings.Contains(err.Error(), token) {
				t.Error("the error shows the token")
			}
		})
	}
	id, err := engine.ImageID(t.Context(), image.Reference)
	if err != nil || (id != image.ConfigDigest && id != image.ManifestDigest) {
		t.Errorf("image ID %q, error %v; want %s, or %s with the containerd image store", id, err, image.ConfigDigest, image.ManifestDigest)
	}
}

// A client that does not know the certificate must not get through, and one
// that speaks HTTP must not be served.
func TestRegistryDemandsTLS(t *testing.T) {
	bed := testbed.FromEnv(t)
	for _, tt := range []struct{ url, want string }{
		{"https://" + bed.Registry + "/v2/", "unknown authority"},
		{"http://" + bed.Registry + "/v2/", "400"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = resp.Status
			_ = resp.Body.Close()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("GET %s: %s; want %q in it", tt.url, got, tt.want)
		}
	}
}

// The sample controller runs, is found healthy by its own test, is in setup
// mode without settings, and reaches an address of the bed from inside.
func TestSampleControllerInSetupMode(t *testing.T) {
	bed := testbed.FromEnv(t)
	engine := bed.Engine(t)
	id := bed.TestID(t)
	image := imageOf(t, bed, "v1")
	pull(t, bed, engine, image.Reference)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", bed.Address+":0")
	if err != nil {
		t.Fatalf("the bridge's address is not this machine's: %v", err)
	}
	port := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, number, _ := strings.Cut(port, ":")
	running, err := engine.Run(t.Context(), id,
		&container.Config{Image: image.Reference, Labels: map[string]string{testbed.TestLabel: id}},
		&container.HostConfig{PortBindings: nat.PortMap{"8080/tcp": {{HostIP: bed.Address, HostPort: number}}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := engine.WaitHealth(ctx, running, "healthy"); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+port+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), "controller v1\nmode:     setup") {
		t.Errorf("page %q, error %v", body, err)
	}
}

func TestInspectOfNothing(t *testing.T) {
	bed := testbed.FromEnv(t)
	_, err := bed.Engine(t).ContainerInspect(t.Context(), "felhom-test-nothing")
	if !engineapi.IsNotFound(err) {
		t.Errorf("want no such container, got %v", err)
	}
}

// What holds a secret is for root alone.
func TestSecretFilesAreClosed(t *testing.T) {
	bed := testbed.FromEnv(t)
	for _, file := range []string{bed.TokenFile, bed.Dir + "/registry.key", bed.Dir + "/htpasswd"} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, error %v; want mode 0600", file, info, err)
		}
	}
}

func imageOf(t *testing.T, bed testbed.Bed, tag string) testbed.Image {
	t.Helper()
	image, err := bed.Image(tag)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func pull(t *testing.T, bed testbed.Bed, engine *testbed.Engine, reference string) {
	t.Helper()
	token, err := bed.Token()
	if err == nil {
		err = engine.Pull(t.Context(), reference, bed.Username, token)
	}
	if err != nil {
		t.Fatal(err)
	}
}
