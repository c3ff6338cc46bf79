package provision

import (
	"bytes"
	"context"
	"errors"
	"io/fs"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/regular"
)

// PutCertificates writes the local API's certificates into the mount of guest
// vmid if they changed, and reports whether it did. Only a guest that is led to
// the registry proxy has them. Its token and its bootstrap.json stay what they
// are, and it is safe to repeat.
func (p *Provisioner) PutCertificates(ctx context.Context, vmid int) (isChanged bool, err error) {
	if isStale, err := p.hasStaleCertificates(vmid); !isStale {
		return false, err // most often: without a lock
	}
	unclaim, err := Claim(p.options.StateDir, vmid)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, unclaim()) }()
	if isStale, err := p.hasStaleCertificates(vmid); !isStale {
		return false, err // another command was faster
	}
	root, err := p.MappedRoot(ctx, vmid)
	if err != nil {
		return false, err
	}
	return true, p.options.Mounts.Put(vmid, root, contract.RegistryCertificateFile, p.options.Certificates)
}

func (p *Provisioner) hasStaleCertificates(vmid int) (bool, error) {
	_, err := p.options.Mounts.Read(vmid, contract.RegistryHostsFile, contract.MaxBootstrapBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil && !isForeign(err):
		return false, err
	}
	has, err := p.options.Mounts.Read(vmid, contract.RegistryCertificateFile, int64(len(p.options.Certificates)))
	switch {
	case errors.Is(err, fs.ErrNotExist), isForeign(err):
		return true, nil
	case err != nil:
		return false, err
	}
	return !bytes.Equal(has, p.options.Certificates), nil
}

// isForeign reports whether a file of the mount is not what felhom-agentd writes: it
// is then replaced.
func isForeign(err error) bool {
	return errors.Is(err, regular.ErrNotRegular) || errors.Is(err, regular.ErrTooLarge)
}
