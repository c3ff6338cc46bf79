package provision

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// Registered is what Register did.
type Registered struct {
	IsNew    bool
	Revoked  bool       // the guest's tokens had been revoked: it is trusted again
	Mount    string     // directory of the guest's mount on this host
	Endpoint string     // the local API as the guest gets it
	Overlap  *time.Time // until when the token in use before is accepted; nil: there was none
}

// registerPatience is how long Register waits for others that register guests,
// which takes each of them a fraction of a second.
const registerPatience = 30 * time.Second

// Register makes guest vmid known, or gives a known one a new token, and writes
// its mount. It does not change the guest itself. If the mount cannot be
// written, it restores the record and the mount.
func (p *Provisioner) Register(ctx context.Context, vmid int) (_ Registered, err error) {
	// Minting and writing the mount are one step: with two at once, the mount
	// could get a token that the other has already dropped.
	// The guest first, which may take seconds: others register other guests meanwhile.
	unclaim, err := Claim(ctx, p.options.StateDir, vmid)
	if err != nil {
		return Registered{}, err
	}
	defer func() { err = errors.Join(err, unclaim()) }()
	unlock, err := p.registering(ctx)
	if err != nil {
		return Registered{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := p.checkHere(vmid); err != nil {
		return Registered{}, err
	}
	record, err := p.options.Store.Get(vmid)
	if err != nil && !errors.Is(err, guests.ErrNotFound) {
		return Registered{}, err
	}
	// All checks are made before the first byte is written.
	asked, err := p.askedBefore(record)
	if err != nil {
		return Registered{}, err
	}
	boot, err := p.options.Bootstrap(vmid, asked)
	if err != nil {
		return Registered{}, err
	}
	if _, err := encoded(boot); err != nil {
		return Registered{}, fault.Wrap(fault.Invalid, err)
	}
	root, err := p.MappedRoot(ctx, vmid)
	if err != nil {
		return Registered{}, err
	}
	isNewMount := !p.options.Mounts.Exists(vmid)
	minted, err := p.options.Store.Mint(ctx, vmid, root.UID, p.options.Overlap)
	if err != nil {
		return Registered{}, err
	}
	if isPut, err := p.putBootstrap(boot, minted, vmid, root); err != nil {
		return Registered{}, errors.Join(err, p.unregister(ctx, vmid, minted, isPut, isNewMount))
	}
	if err := p.confirm(ctx, minted); err != nil {
		return Registered{}, err // both tokens are accepted until the next run
	}
	return Registered{
		IsNew: minted.Before == nil, Revoked: minted.Before != nil && minted.Before.IsRevoked(), Mount: p.options.Mounts.Path(vmid), Endpoint: boot.LocalAPIEndpoint.URL(), Overlap: minted.Overlap,
	}, nil
}

// unregister undoes a registration whose mount was not, or not certainly,
// written. As long as the mount may have the new token, that token stays valid.
func (p *Provisioner) unregister(ctx context.Context, vmid int, minted guests.Minted, isPut, isNewMount bool) (err error) {
	switch {
	case isNewMount && p.options.Mounts.Exists(vmid):
		err = p.options.Mounts.Remove(vmid)
	case isPut && minted.Before != nil:
		return nil // the previous token stays valid, too
	case isPut:
		err = p.options.Mounts.RemoveFile(vmid, configmount.BootstrapFile)
	}
	if isPut && err != nil {
		return err
	}
	return errors.Join(err, p.dropToken(ctx, vmid, minted))
}

func (p *Provisioner) confirm(ctx context.Context, minted guests.Minted) error {
	return p.options.Store.Update(ctx, minted.Token.VMID(), func(r *guests.Record) error {
		r.Confirm(minted, p.options.Now())
		return nil
	})
}

// MappedRoot asks the hypervisor for the ids of the guest's root, if one is
// configured and knows the guest.
func (p *Provisioner) MappedRoot(ctx context.Context, vmid int) (driver.IDs, error) {
	if !p.options.HasHypervisor {
		return p.options.Root, nil
	}
	g, err := p.options.Hypervisor.Guest(ctx, vmid)
	if errors.Is(err, driver.ErrNotFound) {
		return p.options.Root, nil
	}
	return g.Root, err
}

// checkHere refuses a guest that another node with the same store has: its record,
// with the tokens, is that node's too, and its mount is there.
func (p *Provisioner) checkHere(vmid int) error {
	if p.options.IsElsewhere == nil || !p.options.IsElsewhere(vmid) {
		return nil
	}
	return fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d is on another node of the cluster", vmid),
		"run the command on that node; all that a migration leaves here is "+p.options.Mounts.Path(vmid))
}
