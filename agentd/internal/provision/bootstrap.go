package provision

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pin"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Host is what all guests are told of this host.
type Host struct {
	Endpoint string // of the local API
	Pins     pin.Set
}

// BootstrapFrom returns what makes the guests' bootstrap.json from the
// configuration, for [Options].
func BootstrapFrom(cfg config.Config, h Host) func(vmid int, asked Asked) (contract.Bootstrap, error) {
	return func(vmid int, asked Asked) (contract.Bootstrap, error) {
		return bootstrapOf(cfg.WithImage(asked.Image), h, vmid)
	}
}

func bootstrapOf(cfg config.Config, h Host, vmid int) (contract.Bootstrap, error) {
	endpoint, err := contract.ParseEndpoint(h.Endpoint)
	if err != nil {
		return contract.Bootstrap{}, fmt.Errorf("local API endpoint: %w", err)
	}
	image, err := contract.ParseImageRef(cfg.ControllerImage)
	if err != nil {
		return contract.Bootstrap{}, fault.Errorf(fault.Invalid, "controller_image: %w", err)
	}
	boot := contract.Bootstrap{
		SchemaVersion: contract.SchemaVersion, HubURL: cfg.HubURL, HostID: cfg.HostID, GuestID: vmid,
		LocalAPIEndpoint: endpoint, LocalAPIPins: h.Pins, ControllerImage: image, RegistryMirror: cfg.RegistryMirror, ReadyWait: cfg.ReadyWait,
	}
	if cfg.ManifestDigest != "" {
		if boot.ManifestDigest, err = contract.ParseDigest(cfg.ManifestDigest); err != nil {
			return contract.Bootstrap{}, fault.Errorf(fault.Invalid, "controller_image_manifest_digest: %w", err)
		}
	}
	if cfg.ConfigDigest != "" {
		if boot.ConfigDigest, err = contract.ParseDigest(cfg.ConfigDigest); err != nil {
			return contract.Bootstrap{}, fault.Errorf(fault.Invalid, "controller_image_config_digest: %w", err)
		}
	}
	if cfg.Registry != nil {
		secret, err := readTokenFile(cfg.Registry.TokenFile)
		if err != nil {
			return contract.Bootstrap{}, err
		}
		boot.Registry = &contract.Registry{Host: cfg.Registry.Host, Username: cfg.Registry.Username, Token: secret}
	}
	return boot, nil
}

// maxTokenFile is more than the longest token and its line break.
const maxTokenFile = 4 << 10

// readTokenFile reads a credential whose file only its owner and group may read.
func readTokenFile(file string) (_ contract.Secret, err error) {
	f, err := regular.Open(file)
	if err != nil {
		return contract.Secret{}, fault.WrapHint(fault.Invalid, fmt.Errorf("registry.token_file: %w", err), "write the registry's token there, mode 0600")
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return contract.Secret{}, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return contract.Secret{}, fault.WrapHint(fault.Invalid,
			fmt.Errorf("registry.token_file: %s has mode %#o, want 0600: everybody on this host can use it", file, info.Mode().Perm()), "chmod 600 "+file)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return contract.Secret{}, fmt.Errorf("registry.token_file: %w", err)
	}
	secret, err := contract.ParseSecret(string(bytes.TrimRight(data, "\r\n")))
	if err != nil {
		return contract.Secret{}, fault.WrapHint(fault.Invalid, fmt.Errorf("registry.token_file: %s: %w", file, err), "the file holds the token alone, in one line")
	}
	return secret, nil
}
