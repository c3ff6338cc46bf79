// Command floor makes the API calls that no tool can do without, and nothing
// else: pull (or look whether the image is there), create, start. It is what
// the bootstrapper's cost is held against, and is started like it, as a process
// of its own. It checks nothing.
//
//	floor pull|known|running DOCKER-HOST BOOTSTRAP.JSON SETTINGS-DIR ADDRESS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"

	"github.com/felhom/felhom-golden/internal/e2e/engineapi"
)

const containerName = "felhom-controller"

func main() {
	if len(os.Args) != 6 {
		_, _ = fmt.Fprintln(os.Stderr, "usage: floor pull|known|running DOCKER-HOST BOOTSTRAP.JSON SETTINGS-DIR ADDRESS")
		os.Exit(2)
	}
	if err := work(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func work(ctx context.Context, mode, dockerHost, file, settings, address string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var boot struct {
		Image    string `json:"controller_image"`
		Registry struct{ Username, Token string }
	}
	if err := json.Unmarshal(data, &boot); err != nil {
		return err
	}
	engine, err := engineapi.New(dockerHost)
	if err != nil {
		return err
	}
	defer engine.Close()
	switch mode {
	case "running":
		_, err := engine.ContainerInspect(ctx, containerName)
		return err
	case "pull":
		err = engine.Pull(ctx, boot.Image, boot.Registry.Username, boot.Registry.Token)
	case "known":
		_, err = engine.ImageID(ctx, boot.Image)
	default:
		err = fmt.Errorf("no mode %q", mode)
	}
	if err != nil {
		return err
	}
	_, err = engine.Run(ctx, containerName,
		&container.Config{Image: boot.Image, ExposedPorts: nat.PortSet{"8080/tcp": {}, "8081/tcp": {}}},
		&container.HostConfig{
			Binds: []string{
				"/var/run/docker.sock:/var/run/docker.sock",
				settings + ":/opt/docker/felhom-controller",
				filepath.Dir(file) + ":/etc/felhom-bootstrap:ro",
			},
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
			PortBindings: nat.PortMap{
				"8080/tcp": {{HostIP: address, HostPort: "8080"}}, "8081/tcp": {{HostIP: address, HostPort: "8081"}},
			},
		})
	return err
}
