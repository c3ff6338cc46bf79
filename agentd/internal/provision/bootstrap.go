package provision

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/internal/containerspec"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/pin"
	"github.com/felhom/felhom-golden/internal/regular"
)

// Host is the part of bootstrap.json that is the same for all guests of this
// host.
type Host struct {
	Endpoint string // of the local API
	Pins     pin.Set
}

// BootstrapFrom returns the function that makes the guests' bootstrap.json from
// the configuration, for [Options]. It reads the files that the configuration
// names.
func BootstrapFrom(cfg config.Config, h Host) func(vmid int, asked Asked) (contract.Bootstrap, error) {
	return func(vmid int, asked Asked) (contract.Bootstrap, error) {
		boot, err := bootstrapOf(cfg.WithImage(asked.Image), h, vmid)
		boot.Profile = cmp.Or(asked.Profile, cfg.Profile)
		boot.ReadyWait = cmp.Or(asked.ReadyWait, cfg.ReadyWait)
		c, cerr := containerOf(cfg, asked)
		boot.Container = c
		if err := errors.Join(err, cerr); err != nil {
			return contract.Bootstrap{}, err
		}
		return boot, nil
	}
}

// containerOf merges the settings of one guest's container; the golden image's
// are below them, and are merged in the guest. It is nil if there are none.
func containerOf(cfg config.Config, asked Asked) (*contract.Container, error) {
	layers := []*contract.Container{cfg.Container, {Environment: asked.Secrets}, asked.Container}
	if cfg.EnvFile != "" {
		env, err := ReadEnvFile(cfg.EnvFile)
		if err != nil {
			return nil, fmt.Errorf("env_file: %w", err)
		}
		layers = append([]*contract.Container{{Environment: env}}, layers...)
	}
	c := containerspec.Merge(layers...)
	if containerspec.IsZero(&c) {
		return nil, nil
	}
	if problems := containerspec.Check(c); len(problems) > 0 {
		var all []error
		for _, p := range problems {
			all = append(all, fmt.Errorf("container.%s: %s", p.Path, p.Message))
		}
		return nil, fault.WrapHint(fault.Invalid, errors.Join(all...), "these are the settings of agentd.yaml, of the guest's specification and of its flags together: felhom-agentd guest show VMID")
	}
	return &c, nil
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
		LocalAPIEndpoint: endpoint, LocalAPIPins: h.Pins, ControllerImage: image, RegistryMirror: cfg.RegistryMirror,
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
	boot.RegistryProxy = cfg.RegistryAccess == config.RegistryProxy
	if cfg.Registry != nil && cfg.Registry.HasSecret() && cfg.RegistryAccess != config.RegistryProxy && cfg.RegistryAccess != config.RegistryNone {
		secret, err := ReadSecret(SecretFile(*cfg.Registry))
		if err != nil {
			return contract.Bootstrap{}, err
		}
		boot.Registry = &contract.Registry{Host: cfg.Registry.Host, Username: cfg.Registry.Username, Token: secret}
	}
	return boot, nil
}

// unitCredentials is where systemd keeps the credentials of the daemon's unit,
// for a command outside of the unit.
const unitCredentials = "/run/credentials/felhom-agentd.service"

// SecretFile returns the file with the secret of a registry.
func SecretFile(r config.Registry) string {
	if r.Credential == "" {
		return r.TokenFile
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		dir = unitCredentials
	}
	return filepath.Join(dir, r.Credential)
}

// maxTokenFile is more than the longest token and its line break.
const maxTokenFile = 4 << 10

// ReadSecret reads a registry's credential, whose file only its owner and group
// may read.
func ReadSecret(file string) (contract.Secret, error) {
	data, err := readSecretFile(file, maxTokenFile, "write the registry's token there, mode 0600")
	if err != nil {
		return contract.Secret{}, fmt.Errorf("registry.token_file: %w", err)
	}
	secret, err := contract.ParseSecret(string(bytes.TrimRight(data, "\r\n")))
	if err != nil {
		return contract.Secret{}, fault.WrapHint(fault.Invalid, fmt.Errorf("registry.token_file: %s: %w", file, err), "the file holds the token alone, in one line")
	}
	return secret, nil
}

// ReadEnvFile reads a file with variables, in the form of docker run's --env-file,
// that only its owner and group may read.
func ReadEnvFile(file string) (map[string]string, error) {
	data, err := readSecretFile(file, containerspec.MaxBytes, "write NAME=VALUE lines there, mode 0600")
	if err != nil {
		return nil, err
	}
	env, problems := containerspec.ParseEnvFile(data)
	if len(problems) > 0 {
		var all []error
		for _, p := range problems {
			all = append(all, fmt.Errorf("%s:%s", file, p))
		}
		return nil, fault.WrapHint(fault.Invalid, errors.Join(all...), "the file has one NAME=VALUE in each line, as that of docker run --env-file")
	}
	return env, nil
}

// readSecretFile reads a file that only its owner and group may read. write is
// the hint if there is none.
func readSecretFile(file string, limit int64, write string) (_ []byte, err error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, fault.WrapHint(fault.Invalid, err, write)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fault.WrapHint(fault.Invalid, fmt.Errorf("%s has mode %#o, want 0600: every user of this host can read it", file, info.Mode().Perm()), "chmod 600 "+file)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fault.Errorf(fault.Invalid, "%s exceeds the limit of %d bytes", file, limit)
	}
	return data, err
}
