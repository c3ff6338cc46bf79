package docker

import (
	"context"

	"github.com/docker/docker/api/types/system"
)

// info asks the engine about itself.
func (c *Client) info(ctx context.Context) (system.Info, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	return c.api().Info(ctx)
}

// usesContainerd reports whether the engine has containerd's image store.
func usesContainerd(info system.Info) bool {
	for _, line := range info.DriverStatus {
		if line[0] == "driver-type" && line[1] == "io.containerd.snapshotter.v1" {
			return true
		}
	}
	return false
}

// containerdRoot is where containerd keeps images unless it is configured otherwise,
// which the engine does not know.
const containerdRoot = "/var/lib/containerd"

// ImageRoots returns the directories in which the engine keeps images, the one that
// counts first: a containerd that the engine has started itself has its own below
// the engine's. None: the engine does not say.
func (c *Client) ImageRoots(ctx context.Context) ([]string, error) {
	info, err := c.info(ctx)
	if err != nil {
		return nil, c.fault("ask the engine for its directory", err)
	}
	if info.DockerRootDir == "" {
		return nil, nil
	}
	if usesContainerd(info) {
		return []string{containerdRoot, info.DockerRootDir}, nil
	}
	return []string{info.DockerRootDir}, nil
}
