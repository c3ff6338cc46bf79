package testbed

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// AppPort is the port on which the image of [Bed.PushApp] answers.
const AppPort = 9001

// appPackage is the source of a workload that is not felhom's.
const appPackage = "github.com/felhom/felhom-golden/testdata/app"

// PushApp pushes a user's own image twice, with a health test and without one,
// and returns both references. It shows its variable MODE and how often it was
// started on [AppPort], and keeps that number in the volume /data.
func (b Bed) PushApp(ctx context.Context) (tested, untested string, err error) {
	binary := filepath.Join(b.Dir, "app")
	if err := buildProgram(ctx, binary, appPackage); err != nil {
		return "", "", err
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return "", "", err
	}
	options, done, err := b.registryOptions(ctx)
	if err != nil {
		return "", "", err
	}
	defer done()
	health := &v1.HealthConfig{Test: []string{"CMD", "/app", "-health"}, Interval: time.Second, Timeout: 3 * time.Second, Retries: 5}
	for _, one := range []struct {
		tag    string
		health *v1.HealthConfig
		into   *string
	}{{"1.0", health, &tested}, {"1.0-untested", nil, &untested}} {
		image, err := appImage(program, one.health)
		if err != nil {
			return "", "", err
		}
		*one.into = b.Registry + "/team/app:" + one.tag
		if _, err := writeImage(*one.into, image, options); err != nil {
			return "", "", err
		}
	}
	return tested, untested, nil
}

func appImage(program []byte, health *v1.HealthConfig) (v1.Image, error) {
	return programImage("app", program, v1.Config{
		Env:          []string{"PATH=/", "MODE=unset"},
		ExposedPorts: map[string]struct{}{"9001/tcp": {}},
		Healthcheck:  health,
	})
}

// ProgramImage builds the Go program of a package, or of the directory source, in
// dir and returns an image that has and runs nothing else.
func ProgramImage(ctx context.Context, dir, source string, config v1.Config) (v1.Image, error) {
	binary := filepath.Join(dir, "program")
	if err := buildProgram(ctx, binary, source); err != nil {
		return nil, err
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	return programImage("program", program, config)
}

func programImage(name string, program []byte, config v1.Config) (v1.Image, error) {
	layer, err := layerOf(name, 0o755, program)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.Entrypoint = []string{"/" + name}
	file.Config = config
	return mutate.ConfigFile(image, file)
}
