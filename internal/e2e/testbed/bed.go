package testbed

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/filelock"
)

// TestLabel is the label that tests give to what they make in the engine; its
// value is the test's [Bed.TestID].
const TestLabel = "org.felhom.test"

// Bed says where the parts of a running bed are. It owns nothing.
type Bed struct {
	Dir        string // of the bed: logs, sockets; tests make directories below it that containers mount
	DockerHost string // "unix://PATH"
	Bridge     string // name of the bridge
	Address    string // the bridge's IP address: reachable from containers and from this machine
	Registry   string // "ADDRESS:PORT"
	Username   string
	TokenFile  string // holds the registry's password; 0600
	CAFile     string // the registry's certificate, PEM
	ImagesFile string // JSON: tag to [Image]
}

// Image is one of the sample controller's images in the registry.
type Image struct {
	Reference      string `json:"reference"`       // with the tag
	ManifestDigest string `json:"manifest_digest"` // of what the tag names: "sha256:..."
	ConfigDigest   string `json:"config_digest"`   // "" for an index
}

// variable is one name of the environment and its field.
type variable struct {
	name  string
	field *string
}

func (b *Bed) variables() []variable {
	return []variable{
		{"FELHOM_TEST_DIR", &b.Dir},
		{"FELHOM_TEST_DOCKER_HOST", &b.DockerHost},
		{"FELHOM_TEST_BRIDGE", &b.Bridge},
		{"FELHOM_TEST_BRIDGE_ADDRESS", &b.Address},
		{"FELHOM_TEST_REGISTRY", &b.Registry},
		{"FELHOM_TEST_REGISTRY_USER", &b.Username},
		{"FELHOM_TEST_REGISTRY_TOKEN_FILE", &b.TokenFile},
		{"FELHOM_TEST_REGISTRY_CA", &b.CAFile},
		{"FELHOM_TEST_IMAGES", &b.ImagesFile},
	}
}

// Environ returns the bed as NAME=value, for a child's environment.
func (b Bed) Environ() []string {
	var env []string
	for _, v := range b.variables() {
		env = append(env, v.name+"="+*v.field)
	}
	return env
}

// fromEnv is FromEnv with the environment as a parameter.
func fromEnv(getenv func(string) string) (Bed, error) {
	var b Bed
	var missing []string
	for _, v := range b.variables() {
		if *v.field = getenv(v.name); *v.field == "" {
			missing = append(missing, v.name)
		}
	}
	if len(missing) > 0 {
		return Bed{}, fmt.Errorf("no test bed: %s not set; run it under make test, or: go run ./internal/e2e/withbed -- go test -tags integration PACKAGE",
			strings.Join(missing, ", "))
	}
	return b, nil
}

// Find returns the bed that the environment names.
func Find() (Bed, error) { return fromEnv(os.Getenv) }

// FromEnv returns the bed that withbed made. Without one the test fails.
func FromEnv(t testing.TB) Bed {
	t.Helper()
	b, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Token returns the registry's password.
func (b Bed) Token() (string, error) {
	data, err := os.ReadFile(b.TokenFile)
	return strings.TrimSpace(string(data)), err
}

// Image returns the image of that tag, or an error that lists the tags.
func (b Bed) Image(tag string) (Image, error) {
	data, err := os.ReadFile(b.ImagesFile)
	if err != nil {
		return Image{}, err
	}
	var images map[string]Image
	if err := json.Unmarshal(data, &images); err != nil {
		return Image{}, fmt.Errorf("%s: %w", b.ImagesFile, err)
	}
	image, ok := images[tag]
	if !ok {
		return Image{}, fmt.Errorf("the bed has no image %q; it has %v", tag, sortedKeys(images))
	}
	return image, nil
}

// Engine returns a client of the bed's engine that is closed when t ends.
func (b Bed) Engine(t testing.TB) *Engine {
	t.Helper()
	e, err := NewEngine(b.DockerHost)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// TestID returns a name that no other test has, for containers and as the
// value of [TestLabel]. Containers with that label or name are removed when t ends.
func (b Bed) TestID(t testing.TB) string {
	t.Helper()
	var random [5]byte
	_, _ = rand.Read(random[:]) // never fails
	id := "felhom-test-" + hex.EncodeToString(random[:])
	b.RemoveAfter(t, id)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		e, err := NewEngine(b.DockerHost)
		if err != nil {
			t.Error(err)
			return
		}
		defer e.Close()
		ids, err := e.Labelled(ctx, TestLabel+"="+id)
		for _, c := range ids {
			err = errors.Join(err, e.Remove(ctx, c))
		}
		if err != nil {
			t.Errorf("clean up after the test: %v", err)
		}
	})
	return id
}

// RemoveAfter removes the container of that name when t ends, if there is one.
func (b Bed) RemoveAfter(t testing.TB, name string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		e, err := NewEngine(b.DockerHost)
		if err != nil {
			t.Error(err)
			return
		}
		defer e.Close()
		if err := e.Remove(ctx, name); err != nil {
			t.Errorf("clean up after the test: %v", err)
		}
	})
}

// Lock excludes other tests and packages that call it until t ends. Tests that
// make the container "felhom-controller" or publish its ports need it.
func (b Bed) Lock(t testing.TB) {
	t.Helper()
	unlock, err := filelock.Wait(t.Context(), filepath.Join(b.Dir, "test.lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unlock(); err != nil {
			t.Error(err)
		}
	})
}
