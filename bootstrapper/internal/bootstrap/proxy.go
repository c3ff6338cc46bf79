package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

// The files of the mount that lead an engine to the host's registry proxy.
const (
	hostsFile       = contract.RegistryHostsFile
	certificateFile = contract.RegistryCertificateFile
)

// proxied is how images are pulled through the host.
type proxied struct {
	agent      string // host:port of the local API
	credential docker.Credential
	mount      string // directory of the config mount
	certs      string // the engine's certs.d
}

func proxiedFrom(b contract.Bootstrap, o Options) *proxied {
	if !b.RegistryProxy {
		return nil
	}
	return &proxied{
		agent: b.LocalAPIEndpoint.HostPort(), mount: o.Mount, certs: at(o.Root, CertsDir),
		credential: docker.Credential{Username: fmt.Sprintf("guest-%d", b.GuestID), Password: b.LocalAPIToken.Reveal()},
	}
}

// prepare leads the engine to the proxy, and returns s with the name and the
// credential to pull with. The engine reads the files at each pull, by links
// into the mount, so that a new token or certificate needs no change in the
// guest.
//
// Containerd's store asks the host in place of the image's own registry, with
// the token from hosts.toml. The older stores do not read that file: they pull
// by the host's name, and the image gets its own name afterwards.
func (p *proxied) prepare(ctx context.Context, s imageStep) (imageStep, error) {
	readsHostsFile, err := s.store.ReadsHostsFile(ctx)
	if err != nil {
		return s, classed(err)
	}
	s.credential, s.mirror = p.credential, p.agent
	registry, files := p.agent, []string{certificateFile}
	if readsHostsFile {
		s.credential, s.mirror = docker.Credential{}, ""
		registry, files = s.ref.Host(), []string{certificateFile, hostsFile}
	}
	for _, name := range files {
		if err := p.link(registry, name); err != nil {
			return s, err
		}
	}
	return s, nil
}

// link links a registry's certs.d to the file name of the mount. A correct link
// stays and another link is replaced; a file is an error, because it belongs to
// the golden image.
func (p *proxied) link(registry, name string) (err error) {
	source, dir := filepath.Join(p.mount, name), filepath.Join(p.certs, registry)
	if _, err := os.Stat(source); err != nil {
		return fault.WrapHint(fault.NotReady, fmt.Errorf("registry proxy: %w", err),
			"the host has not written the file; felhom-agentd guest add writes it again")
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("registry proxy: %w", err)
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	target := filepath.Join(dir, name)
	info, err := os.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink == 0:
		return fault.WrapHint(fault.Exists, fmt.Errorf("%s exists and is not a link into the config mount", target),
			"leave the file out of the golden image, or set registry_access to another value than proxy on the host")
	default:
		if now, err := os.Readlink(target); err == nil && now == source {
			return nil
		}
	}
	temporary := filepath.Join(dir, "."+name+".new")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(source, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, target)
}
