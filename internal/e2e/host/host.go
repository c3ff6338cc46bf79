// Package host runs the product's felhom-agentd on a test bed, for the demo and
// the benchmarks: writes its configuration, starts it, waits until it is
// healthy, stops it. It drives the binary from outside, as an operator would,
// and imports nothing of it.
package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// Settings say what to run and where.
type Settings struct {
	Binary  string // felhom-agentd
	Dir     string // everything is below it: host/ and guests/
	Image   string // tag of the sample image that guests run
	Enforce bool   // a token is accepted from its own guest alone
	LXC     bool   // guests are real ones, below the bed's lxcpath
	Own     string // an operator's whole configuration, in place of image and hypervisor: only places and ports of the bed are added
	Port    int    // of the local API; 0: 8443
	Reports int    // of a guest in a minute; 0: as many as the daemon takes by itself
}

// Host is a running daemon.
type Host struct {
	Config   string // its configuration file
	Endpoint string // "https://ADDRESS:PORT"
	LogFile  string
	binary   string
	dir      string
	daemon   *testbed.Daemon
}

// ConfigFile is where Start writes the configuration.
func (s Settings) ConfigFile() string { return filepath.Join(s.Dir, "host/agentd.yaml") }

// GuestRoot is the directory whose size the daemon reports as the guest's root
// file system.
func (s Settings) GuestRoot(vmid string) string {
	return filepath.Join(s.Dir, "guests", vmid, "rootfs")
}

// Config is the daemon's whole configuration. The image is pinned by both of
// its digests.
func (s Settings) Config(bed testbed.Bed) (string, error) {
	if s.Own != "" {
		return s.Own + s.places() + fmt.Sprintf("listen: [%q]\nlxc: {path: %s}\n", s.address(bed), bed.LXCPath()), nil
	}
	image, err := bed.Image(s.Image)
	if err != nil {
		return "", err
	}
	// A guest that is a directory shares the engine of this machine, whose certs.d is
	// not the guest's: it cannot be led to the proxy.
	access, guests := "credential", fmt.Sprintf("storage:\n  folder: %s/guests\n", s.Dir)
	if s.LXC {
		access, guests = "proxy", fmt.Sprintf("hypervisor: lxc\nlxc:\n  path: %s\nprovision:\n  wait: 5m\n", bed.LXCPath())
	}
	if s.Enforce {
		guests += "origin: enforce\n"
	}
	if s.Reports != 0 {
		guests += fmt.Sprintf("limits: {reports_per_minute: %d}\n", s.Reports)
	}
	return fmt.Sprintf(`host_id: demo-felhom
hub_url: https://hub.example
bridge: %s
controller_image: %s
controller_image_manifest_digest: %s
controller_image_config_digest: %s
registry_access: %[11]s
registry:
  host: %[5]s
  username: %[6]s
  token_file: %[7]s
  ca_file: %[10]s
%[8]s%[9]s`, bed.Bridge, image.Reference, image.ManifestDigest, image.ConfigDigest, bed.Registry, bed.Username, bed.TokenFile, s.places(), guests, bed.CAFile, access), nil
}

// places separates the daemon of a bed from the machine's own.
func (s Settings) places() string {
	return fmt.Sprintf("state_dir: %[1]s/host/state\nmounts_dir: %[1]s/host/mounts\nhealth_socket: %[1]s/host/health.sock\n", s.Dir)
}

func (s Settings) address(bed testbed.Bed) string {
	return net.JoinHostPort(bed.Address, strconv.Itoa(cmp.Or(s.Port, 8443)))
}

// Start returns when the daemon is healthy. On an error nothing runs.
func Start(ctx context.Context, bed testbed.Bed, s Settings) (*Host, error) {
	h := &Host{
		Config:   s.ConfigFile(),
		Endpoint: "https://" + s.address(bed),
		LogFile:  filepath.Join(s.Dir, "host/agentd.log"),
		binary:   s.Binary,
		dir:      filepath.Join(s.Dir, "host"),
	}
	config, err := s.Config(bed)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(h.dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(h.Config, []byte(config), 0o600); err != nil {
		return nil, err
	}
	if err := h.serve(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// serve starts the daemon and waits until it is healthy. On an error nothing runs.
func (h *Host) serve(ctx context.Context) (err error) {
	h.daemon, err = testbed.StartDaemon("felhom-agentd", exec.Command(h.binary, "--config", h.Config, "serve"), h.LogFile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := h.daemon.Wait(ctx, Healthy(filepath.Join(h.dir, "health.sock"))); err != nil {
		return errors.Join(err, h.daemon.StopAnyway())
	}
	return nil
}

// KillAndRestart ends the daemon by SIGKILL and starts it again. If it does not
// become healthy, nothing runs.
func (h *Host) KillAndRestart(ctx context.Context) error {
	if err := h.daemon.Kill(); err != nil {
		return err
	}
	return h.serve(ctx)
}

// Command returns the command line of felhom-agentd with the daemon's
// configuration, in a namespace in which root may map the ids of guests.
func (h *Host) Command(args ...string) []string {
	return testbed.WithSubIDs(append([]string{h.binary, "--config", h.Config}, args...)...)
}

// Stop ends the daemon. It returns an error if the daemon had ended already.
func (h *Host) Stop() error { return h.daemon.Stop(time.Minute) }

// Log returns the end of the daemon's log.
func (h *Host) Log() string { return h.daemon.Tail() }

// Mount returns the directory that the daemon fills for a guest.
func (h *Host) Mount(vmid string) string { return filepath.Join(h.dir, "mounts", vmid) }

// Healthy returns a function that asks the daemon on its Unix socket; nil means
// that the daemon is healthy.
func Healthy(socket string) func(context.Context) error {
	return func(ctx context.Context) error {
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agentd/health", nil)
		if err != nil {
			return err
		}
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("GET /health: %s", resp.Status)
		}
		return nil
	}
}
