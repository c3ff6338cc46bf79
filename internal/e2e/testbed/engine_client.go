package testbed

import (
	"github.com/docker/docker/api/types/container"

	"github.com/felhom/felhom-golden/internal/e2e/engineapi"
)

// The bed's client of the engine, under the names that tests use.
type (
	// Engine is a client of the bed's engine.
	Engine = engineapi.Engine
	// Container is what the engine says of a container.
	Container = container.InspectResponse
)

// NewEngine returns a client for host, such as unix:///run/docker.sock. It connects when used.
func NewEngine(host string) (*Engine, error) { return engineapi.New(host) }
