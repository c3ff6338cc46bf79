package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
)

// ErrNoMount means that this node has no config mount of the guest: its
// directory is missing, or the guest is on another node of a cluster.
var ErrNoMount = errors.New("no config mount on this host")

// Renewal is what changes in a mount without a new provisioning.
type Renewal struct {
	Host         Host
	Certificates []byte // of the local API, in PEM
	// Token reports whether the guest, whose record and profile it gets, needs a
	// new token, and for how long the one in use stays valid unless the new one is
	// used before. nil: no guest does.
	Token func(r guests.Record, profile contract.Profile) (isDue bool, overlap time.Duration)
}

// Renewed is what Renew did. The zero Renewed is of a mount that was as it must be.
type Renewed struct {
	IsWritten bool // a file was replaced
	HasToken  bool // and the guest has a new token
	// WasMinted means that an error came after a token was made for the guest, which is in
	// the audit log.
	WasMinted bool
}

// Renew brings what guest vmid is told of this host up to date in its mount.
// All else that the mount says stays as it is, whatever the configuration says
// now: image and settings change by provision alone. The token is the same
// unless a new one is due. Renew is safe to repeat. [ErrNoMount] is in the chain
// of the error if this host has no mount of the guest.
func (p *Provisioner) Renew(ctx context.Context, vmid int, what Renewal) (_ Renewed, err error) {
	root, err := p.rootOfMount(vmid) // of another node's guests this is all
	if err != nil {
		return Renewed{}, err
	}
	unlock, err := p.registering(ctx)
	if err != nil {
		return Renewed{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	unclaim, err := p.journals.claimFinished(ctx, vmid, atOnce)
	if err != nil {
		return Renewed{}, err
	}
	defer func() { err = errors.Join(err, unclaim()) }()
	record, err := p.options.Store.Get(vmid)
	if err != nil {
		return Renewed{}, unknownGuest(vmid, err)
	}
	root.UID = record.IDMapBase
	has, tok, err := p.inMount(vmid)
	if err != nil {
		return Renewed{}, err
	}
	boot := has
	boot.LocalAPIPins = what.Host.Pins
	if boot.LocalAPIEndpoint, err = contract.ParseEndpoint(what.Host.Endpoint); err != nil {
		return Renewed{}, fmt.Errorf("local API endpoint: %w", err)
	}
	with := *p
	with.options.Certificates = what.Certificates
	if what.Token != nil && !record.IsRevoked() {
		if isDue, overlap := what.Token(record, has.Profile); isDue {
			return with.rotate(ctx, vmid, root, boot, overlap)
		}
	}
	if has.RegistryProxy {
		// An operator who removed the engine's files does not get them again.
		_, err := p.options.Mounts.Read(vmid, contract.RegistryHostsFile, contract.MaxBootstrapBytes)
		if errors.Is(err, fs.ErrNotExist) {
			return with.renewAlone(vmid, root, has, boot)
		}
	}
	isSame := has.LocalAPIEndpoint == boot.LocalAPIEndpoint && slices.Equal(has.LocalAPIPins, boot.LocalAPIPins)
	if isSame {
		files, err := with.staleFiles(vmid, boot, has.LocalAPIToken)
		if err != nil || len(files) == 0 {
			return Renewed{}, err
		}
	}
	isPut, err := with.putBootstrap(boot, guests.Minted{Token: tok}, vmid, root)
	return Renewed{IsWritten: isPut}, err
}

// renewAlone is the part of Renew for a mount without files for the engine.
func (p *Provisioner) renewAlone(vmid int, root driver.IDs, has, boot contract.Bootstrap) (Renewed, error) {
	if has.LocalAPIEndpoint == boot.LocalAPIEndpoint && slices.Equal(has.LocalAPIPins, boot.LocalAPIPins) {
		return Renewed{}, nil
	}
	data, err := boot.Encode()
	if err != nil {
		return Renewed{}, fmt.Errorf("bootstrap.json of guest %d: %w", vmid, err)
	}
	if err := p.options.Mounts.Put(vmid, root, configmount.BootstrapFile, data); err != nil {
		return Renewed{}, err
	}
	return Renewed{IsWritten: true}, nil
}

// rotate is the part of Renew that gives the guest a new token.
func (p *Provisioner) rotate(ctx context.Context, vmid int, root driver.IDs, boot contract.Bootstrap, overlap time.Duration) (Renewed, error) {
	minted, err := p.options.Store.Mint(ctx, vmid, root.UID, overlap)
	if err != nil {
		return Renewed{}, err
	}
	if isPut, err := p.putBootstrap(boot, minted, vmid, root); err != nil {
		if !isPut {
			err = errors.Join(err, p.dropToken(ctx, vmid, minted))
		}
		return Renewed{WasMinted: true}, err // if it is in the mount, both tokens are accepted until the next try
	}
	return Renewed{IsWritten: true, HasToken: true}, p.confirm(ctx, minted)
}

// Pins reports whether the mount of guest vmid has the pin of each of hosts, by
// which the guest accepts this host with that key.
func (p *Provisioner) Pins(vmid int, hosts Host) (bool, error) {
	if _, err := p.rootOfMount(vmid); err != nil {
		return false, err
	}
	has, _, err := p.inMount(vmid)
	if err != nil {
		return false, err
	}
	for _, one := range hosts.Pins {
		if !slices.Contains(has.LocalAPIPins, one) {
			return false, nil
		}
	}
	return true, nil
}

// MountFault returns why the mount of guest vmid cannot get a new token, nil if it can.
func MountFault(mounts Mounts, vmid int) error {
	p := &Provisioner{options: Options{Mounts: mounts}}
	if _, err := p.rootOfMount(vmid); err != nil {
		return err
	}
	_, _, err := p.inMount(vmid)
	return err
}

// registering keeps other processes from minting tokens and writing mounts.
func (p *Provisioner) registering(ctx context.Context) (unlock func() error, err error) {
	unlock, err = filelock.WaitAtMost(ctx, filepath.Join(p.options.StateDir, "guest-add.lock"), registerPatience)
	if errors.Is(err, filelock.ErrHeld) {
		err = fault.WrapHint(fault.Busy, err, "another command of felhom-agentd gives guests tokens; try again when it has ended")
	}
	return unlock, err
}

// rootOfMount returns the ids of the guest's root as far as the mount has them:
// its group.
func (p *Provisioner) rootOfMount(vmid int) (driver.IDs, error) {
	info, err := os.Lstat(p.options.Mounts.Path(vmid))
	if errors.Is(err, fs.ErrNotExist) {
		return driver.IDs{}, fault.WrapHint(fault.NotReady, fmt.Errorf("guest %d: %w", vmid, ErrNoMount), fmt.Sprintf("felhom-agentd guest rotate %d makes it again", vmid))
	}
	if err != nil {
		return driver.IDs{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() {
		return driver.IDs{}, fault.Errorf(fault.NotReady, "config mount of guest %d: %v, want a directory", vmid, info.Mode().Type())
	}
	return driver.IDs{GID: int(st.Gid)}, nil
}

// inMount returns what the mount of guest vmid says. It may be the work of the
// guest's root: it is written to that guest's mount again, and used for nothing
// else.
func (p *Provisioner) inMount(vmid int) (contract.Bootstrap, token.Token, error) {
	unreadable := func(cause error) error {
		return fault.WrapHint(fault.NotReady, fmt.Errorf("config mount of guest %d: %s: %w", vmid, configmount.BootstrapFile, cause), fmt.Sprintf("felhom-agentd guest rotate %d writes it again", vmid))
	}
	data, err := p.options.Mounts.Read(vmid, configmount.BootstrapFile, contract.MaxBootstrapBytes)
	if err != nil {
		return contract.Bootstrap{}, token.Token{}, unreadable(err)
	}
	boot, findings := contract.Parse(data)
	if findings.Err() != nil { // the findings can be long, and of the guest
		return boot, token.Token{}, unreadable(errors.New("it is not valid"))
	}
	tok, err := token.Parse(boot.LocalAPIToken.Reveal())
	if err == nil && tok.VMID() != vmid {
		err = errors.New("its token is another guest's")
	}
	if err == nil {
		_, err = boot.Encode() // what cannot be written again must not be found out between two files
	}
	if err != nil {
		return boot, token.Token{}, unreadable(err)
	}
	return boot, tok, nil
}
