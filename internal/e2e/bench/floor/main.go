// Command floor makes the API calls that nobody can do without, and nothing
// else: pull (or look whether the image is there), create, start. It is what
// the bootstrapper's cost is held against, and is started like it, as a process
// of its own. It checks nothing.
//
//	floor pull|known|running DOCKER-HOST BOOTSTRAP.JSON SETTINGS-FOLDER ADDRESS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/internal/e2e/engineapi"
)

const containerName = "felhom-controller"

func main() {
	if len(os.Args) != 6 {
		_, _ = fmt.Fprintln(os.Stderr, "usage: floor pull|known|running DOCKER-HOST BOOTSTRAP.JSON SETTINGS-FOLDER ADDRESS")
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
	engine := engineapi.New(dockerHost)
	defer engine.Close()
	switch mode {
	case "running":
		_, err := engine.Inspect(ctx, containerName)
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
	type binding struct{ HostIP, HostPort string }
	id, err := engine.Create(ctx, containerName, map[string]any{
		"Image":        boot.Image,
		"ExposedPorts": map[string]any{"8080/tcp": struct{}{}, "8081/tcp": struct{}{}},
		"HostConfig": map[string]any{
			"Binds": []string{
				"/var/run/docker.sock:/var/run/docker.sock",
				settings + ":/opt/docker/felhom-controller",
				filepath.Dir(file) + ":/etc/felhom-bootstrap:ro",
			},
			"RestartPolicy": map[string]string{"Name": "unless-stopped"},
			"PortBindings": map[string][]binding{
				"8080/tcp": {{address, "8080"}}, "8081/tcp": {{address, "8081"}},
			},
		},
	})
	if err != nil {
		return err
	}
	return engine.Start(ctx, id)
}
