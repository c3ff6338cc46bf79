package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/internal/fault"
)

// changeLimit bounds Attach and Detach; PVE may wait for the guest's lock.
const changeLimit = 2 * time.Minute

// Attach mounts the config mount of guest vmid in it, at once if it runs, and
// returns the mount's directory on this host. The guest must be known: any other
// would get an empty directory. It is safe to repeat.
func (p *Provisioner) Attach(ctx context.Context, vmid int) (source string, err error) {
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	if _, err := p.options.Store.Get(vmid); err != nil {
		return "", fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d: %w", vmid, err), fmt.Sprintf("felhom-agentd guest add %d first", vmid))
	}
	unlock, err := Claim(ctx, p.options.StateDir, vmid)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	m := p.mount(vmid)
	return m.Source, p.options.Hypervisor.Attach(ctx, vmid, m)
}

// Detach ends the config mount of guest vmid in it, and no other mount; the
// directory on this host stays. It is safe to repeat.
func (p *Provisioner) Detach(ctx context.Context, vmid int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	unlock, err := Claim(ctx, p.options.StateDir, vmid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	g, err := p.options.Hypervisor.Guest(ctx, vmid)
	if err != nil {
		return err
	}
	if err := p.checkMount(g); err != nil {
		return err
	}
	return p.options.Hypervisor.Detach(ctx, vmid, configmount.Target)
}
