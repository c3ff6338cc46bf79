package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// host is a running felhom-agentd and what it has given to guests.
type host struct {
	daemon   *testbed.Daemon
	config   string // file
	endpoint string // "https://ADDRESS:PORT"
	log      string // file
	pin      string // curl-ready, of the certificate in use
	guest    string // the guest's root folder
	secrets  map[string]string
}

func (h *host) stop() error { return h.daemon.Stop(15 * time.Second) }

// mountOf is the folder that the host fills for a guest.
func (d *demo) mountOf(guest string) string { return filepath.Join(d.dir, "host/mounts", guest) }

func (d *demo) startHost(ctx context.Context) (_ *host, err error) {
	h := &host{
		config:   filepath.Join(d.dir, "host/agentd.yaml"),
		endpoint: "https://" + net.JoinHostPort(d.bed.Address, "8443"),
		log:      filepath.Join(d.dir, "host/agentd.log"),
		guest:    filepath.Join(d.dir, "guests", vmid, "rootfs"),
		secrets:  map[string]string{},
	}
	if err := os.MkdirAll(filepath.Join(d.dir, "host"), 0o755); err != nil {
		return nil, err
	}
	config, err := d.config()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(h.config, []byte(config), 0o600); err != nil {
		return nil, err
	}
	d.say("Its configuration, as an operator writes it ($DEMO is %s):\n\n%s\n", d.dir, d.short(indent(config)))

	d.say("$ %s", d.short(run.Quote("felhom-agentd", "--config", h.config, "serve")))
	h.daemon, err = testbed.StartDaemon("felhom-agentd", exec.Command(d.binary("felhom-agentd"), "--config", h.config, "serve"), h.log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.stop())
		}
	}()
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := h.daemon.Wait(wait, d.healthy); err != nil {
		return nil, err
	}
	d.say("%s\n", d.short(indent(h.daemon.Tail())))

	code, err := d.program(ctx, "felhom-agentd", "--config", h.config, "pin")
	if err != nil {
		return nil, err
	}
	d.check(code == 0, "the pins are printed: exit %d, want 0", code)
	res, err := run.Run(ctx, run.Cmd{Path: d.binary("felhom-agentd"), Args: []string{"--config", h.config, "pin", "--json"}})
	if err != nil {
		return nil, err
	}
	var pins struct {
		Current struct {
			SPKI string `json:"spki_sha256"`
		} `json:"current"`
	}
	if err := json.Unmarshal(res.Stdout, &pins); err != nil {
		return nil, fmt.Errorf("felhom-agentd pin --json: %w", err)
	}
	h.pin = pins.Current.SPKI
	return h, nil
}

// config is agentd's whole configuration: the image is pinned by both digests.
func (d *demo) config() (string, error) {
	image, err := d.bed.Image("v1")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`host_id: demo-felhom
hub_url: https://hub.example
bridge: %s
controller_image: %s
controller_image_manifest_digest: %s
controller_image_config_digest: %s
registry:
  host: %s
  username: %s
  token_file: %s
state_dir: %[8]s/host/state
mounts_dir: %[8]s/host/mounts
health_socket: %[8]s/host/health.sock
storage:
  folder: %[8]s/guests
`, d.bed.Bridge, image.Reference, image.ManifestDigest, image.ConfigDigest, d.bed.Registry, d.bed.Username, d.bed.TokenFile, d.dir), nil
}

// healthy asks agentd on its Unix socket.
func (d *demo) healthy(ctx context.Context) error {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(d.dir, "host/health.sock"))
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

// addGuests makes two guests known and mounts the first one's folder where PVE
// would: read-only, at /etc/felhom-bootstrap in the guest.
func (d *demo) addGuests(ctx context.Context, h *host) error {
	for _, guest := range []string{vmid, other} {
		code, err := d.program(ctx, "felhom-agentd", "--config", h.config, "guest", "add", guest)
		if err != nil {
			return err
		}
		d.check(code == 0, "guest %s is added: exit %d, want 0", guest, code)
		data, err := os.ReadFile(filepath.Join(d.mountOf(guest), "bootstrap.json"))
		if err != nil {
			return err
		}
		var boot struct {
			Token string `json:"local_api_token"`
		}
		if err := json.Unmarshal(data, &boot); err != nil {
			return err
		}
		h.secrets[guest] = boot.Token
		if guest == vmid {
			d.say("\nWhat guest %s finds in its mount:\n\n%s\n", guest, indent(redact(string(data))))
		}
	}
	registry, err := d.bed.Token()
	if err != nil {
		return err
	}
	h.secrets["registry"] = registry

	target := filepath.Join(h.guest, "etc/felhom-bootstrap")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(d.mountOf(vmid), target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount %s read-only: %w", target, err)
	}
	d.say("\nIt is mounted read-only into the guest's root folder, %s.", d.short(h.guest))
	return nil
}

// known shows the host's list and looks for secrets where none may be.
func (d *demo) known(ctx context.Context, h *host) error {
	code, err := d.program(ctx, "felhom-agentd", "--config", h.config, "guest", "list")
	if err != nil {
		return err
	}
	d.check(code == 0, "the host lists its guests: exit %d, want 0", code)
	log, err := os.ReadFile(h.log)
	if err != nil {
		return err
	}
	inspect, err := run.Run(ctx, run.Cmd{
		Path: "curl",
		Args: []string{"--silent", "--fail", "--unix-socket", strings.TrimPrefix(d.bed.DockerHost, "unix://"), "http://engine/containers/felhom-controller/json"},
	})
	if err != nil {
		return err
	}
	for name, secret := range h.secrets {
		d.check(secret != "" && !strings.Contains(string(log), secret), "the daemon's log is free of the token of %s", name)
		d.check(secret != "" && !strings.Contains(string(inspect.Stdout), secret), "docker inspect is free of the token of %s", name)
	}
	return nil
}
