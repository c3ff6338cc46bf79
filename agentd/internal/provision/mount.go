package provision

import (
	"context"
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
)

// putBootstrap writes bootstrap.json of guest vmid: boot with the minted token.
// isPut reports whether the file in the mount has that token now, which an error
// does not exclude: when only the sync of the directory fails, the new file has
// already taken the place of the old one.
func (p *Provisioner) putBootstrap(boot contract.Bootstrap, minted guests.Minted, vmid int, root driver.IDs) (isPut bool, err error) {
	if boot.LocalAPIToken, err = contract.ParseSecret(minted.Token.Reveal()); err != nil {
		return false, err
	}
	data, err := boot.Encode()
	if err != nil {
		return false, fmt.Errorf("bootstrap.json of guest %d: %w", vmid, err)
	}
	err = p.options.Mounts.Put(vmid, root, configmount.BootstrapFile, data)
	return err == nil || errors.Is(err, atomicfile.ErrInPlace), err
}

// dropToken undoes a mint whose token is in no mount: the record is again what
// it was. ctx may be done: it may be what made the write fail.
func (p *Provisioner) dropToken(ctx context.Context, vmid int, minted guests.Minted) error {
	return p.options.Store.Replace(context.WithoutCancel(ctx), vmid, minted.Before)
}
