package provision

import (
	"context"
	"errors"
	"fmt"

	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
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
	// The certificates come first, the other file with the token last: until
	// then it has the previous token, which is accepted until the new one is
	// used.
	if boot.RegistryProxy {
		if err := p.options.Mounts.Put(vmid, root, contract.RegistryCertificateFile, p.options.Certificates); err != nil {
			return false, err
		}
	}
	err = p.options.Mounts.Put(vmid, root, configmount.BootstrapFile, data)
	isPut = err == nil || errors.Is(err, atomicfile.ErrInPlace)
	if err != nil {
		return isPut, err
	}
	if boot.RegistryProxy {
		return isPut, p.options.Mounts.Put(vmid, root, contract.RegistryHostsFile, hostsFile(boot.LocalAPIEndpoint, minted.Token))
	}
	return isPut, p.options.Mounts.RemoveFile(vmid, contract.RegistryHostsFile) // of another registry_access, with a token
}

// hostsFile returns the hosts.toml that leads an engine to the registry proxy,
// and to it alone: the server that it would fall back to is the proxy too.
func hostsFile(endpoint contract.Endpoint, tok token.Token) []byte {
	return fmt.Appendf(nil, `# Written by felhom-agentd: images come through this host, with this guest's own token.
server = %[1]q

[host.%[1]q]
  capabilities = ["pull", "resolve"]
  ca = %[2]q
  [host.%[1]q.header]
    Authorization = %[3]q
`, endpoint.URL(), contract.RegistryCertificateFile, "Bearer "+tok.Reveal())
}

// dropToken undoes a mint whose token is in no mount: it restores the record.
// ctx may be done, because that may have made the write fail.
func (p *Provisioner) dropToken(ctx context.Context, vmid int, minted guests.Minted) error {
	return p.options.Store.Replace(context.WithoutCancel(ctx), vmid, minted.Before)
}
