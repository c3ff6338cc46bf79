// Package driver has what felhom-agentd needs of a hypervisor, and what its
// drivers (pct, lxc, directory) share: the interface [Hypervisor] with its value
// types, the errors and their kinds, and the rules for mounts. Drivers make their
// errors with [Fault] and [Faultf].
package driver

import (
	"context"
	"errors"
)

// ErrNoFigures means that a driver cannot measure a guest on this host.
var ErrNoFigures = errors.New("there are no figures of the guest")

// Usage is the size and use of one file system of a guest.
type Usage struct {
	Path      string // where the guest sees it: "/" is the root file system
	Size      int64  // bytes
	Used      int64  // bytes
	Available int64  // bytes, for an ordinary user
}

// Storage measures how full a guest's file systems are.
type Storage interface {
	// Storage returns the root file system of guest vmid first, then its mount
	// points sorted by path. ErrNotFound is final; ErrNoFigures may stay, any
	// other error may pass.
	Storage(ctx context.Context, vmid int) ([]Usage, error)
}
