package testbed

import "github.com/felhom/felhom-golden/internal/e2e/engineapi"

// The bed's client of the engine, under the names that tests use.
type (
	// Engine is a client of the bed's engine.
	Engine = engineapi.Engine
	// Container is what is looked at of a container.
	Container = engineapi.Container
)

// ErrNoSuchContainer says that the engine knows no container of that name or ID.
var ErrNoSuchContainer = engineapi.ErrNoSuchContainer

// NewEngine returns a client for host, "unix://PATH". It connects when used.
func NewEngine(host string) *Engine { return engineapi.New(host) }
