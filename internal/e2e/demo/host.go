package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/host"
)

// hostSide is the running daemon and what the demo has read from it.
type hostSide struct {
	*host.Host
	pin     string            // curl-ready, of the certificate in use
	guest   string            // the guest's root directory
	secrets map[string]string // guest, or "registry", to its token
}

func (d *demo) startHost(ctx context.Context, realGuests bool) (_ *hostSide, err error) {
	settings := host.Settings{Binary: d.binary("felhom-agentd"), Dir: d.dir, Image: "v1", LXC: realGuests, Enforce: realGuests}
	config, err := settings.Config(d.bed.Bed)
	if err != nil {
		return nil, err
	}
	d.say("Its configuration, as an operator writes it ($DEMO is %s):\n\n%s\n", d.dir, d.short(indent(config)))
	d.say("$ %s", d.short(run.Quote("felhom-agentd", "--config", settings.ConfigFile(), "serve")))
	started, err := host.Start(ctx, d.bed.Bed, settings)
	if err != nil {
		return nil, err
	}
	h := &hostSide{Host: started, guest: settings.GuestRoot(vmid), secrets: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Stop())
		}
	}()
	d.say("%s\n", d.short(indent(h.Log())))

	code, err := d.program(ctx, "felhom-agentd", "--config", h.Config, "pin")
	if err != nil {
		return nil, err
	}
	d.check(code == 0, "the pins are printed: exit %d, want 0", code)
	res, err := run.Run(ctx, run.Cmd{Path: d.binary("felhom-agentd"), Args: []string{"--config", h.Config, "pin", "--json"}})
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

// addGuests makes two guests known and mounts the first one's directory where PVE
// would: read-only, at /etc/felhom-bootstrap in the guest.
func (d *demo) addGuests(ctx context.Context, h *hostSide) error {
	for _, guest := range []string{vmid, other} {
		code, err := d.program(ctx, "felhom-agentd", "--config", h.Config, "guest", "add", guest)
		if err != nil {
			return err
		}
		d.check(code == 0, "guest %s is added: exit %d, want 0", guest, code)
		text, err := h.readMount(guest)
		if err != nil {
			return err
		}
		if guest == vmid {
			d.say("\nWhat guest %s finds in its mount:\n\n%s\n", guest, indent(redact(text)))
		}
	}
	if err := d.readRegistryToken(h); err != nil {
		return err
	}

	target := filepath.Join(h.guest, "etc/felhom-bootstrap")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(h.Mount(vmid), target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount %s read-only: %w", target, err)
	}
	d.say("\nIt is mounted read-only into the guest's root directory, %s.", d.short(h.guest))
	return nil
}

// readMount returns a guest's bootstrap.json, and keeps its token for the table
// and for the search at the end.
func (h *hostSide) readMount(guest string) (string, error) {
	data, err := os.ReadFile(filepath.Join(h.Mount(guest), "bootstrap.json"))
	if err != nil {
		return "", err
	}
	var boot struct {
		Token string `json:"local_api_token"`
	}
	if err := json.Unmarshal(data, &boot); err != nil {
		return "", err
	}
	h.secrets[guest] = boot.Token
	return string(data), nil
}

func (d *demo) readRegistryToken(h *hostSide) (err error) {
	h.secrets["registry"], err = d.bed.Token()
	return err
}

// known shows the host's list and looks for secrets where none may be.
func (d *demo) known(ctx context.Context, h *hostSide, engine string) error {
	code, err := d.program(ctx, "felhom-agentd", "--config", h.Config, "guest", "list")
	if err != nil {
		return err
	}
	d.check(code == 0, "the host lists its guests: exit %d, want 0", code)
	d.say("")
	if code, err = d.agentd(ctx, h, "doctor"); err != nil {
		return err
	}
	d.check(code == 0, "nothing is wrong on the host: exit %d, want 0", code)
	log, err := os.ReadFile(h.LogFile)
	if err != nil {
		return err
	}
	inspect, err := run.Run(ctx, run.Cmd{
		Path: "curl",
		Args: []string{"--silent", "--fail", "--unix-socket", engine, "http://engine/containers/felhom-controller/json"},
	})
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(h.secrets)) {
		secret := h.secrets[name]
		d.check(secret != "" && !strings.Contains(string(log), secret), "the daemon's log is free of the token of %s", name)
		d.check(secret != "" && !strings.Contains(string(inspect.Stdout), secret), "docker inspect is free of the token of %s", name)
	}
	return nil
}
