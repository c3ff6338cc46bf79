package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/e2e/guest"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// showGuest is the demo with a real guest.
func (d *demo) showGuest(ctx context.Context) error {
	d.head("Real parts: a bridge without a way out, a registry, liblxc in place of Proxmox VE")
	return d.onBed(ctx, testbed.Options{NoEngine: true}, []string{"lxc-start", "mmdebstrap", "zstd", "nsenter", "curl"}, d.guest)
}

func (d *demo) guest(ctx context.Context) (err error) {
	d.head("The build machine: felhom-golden bakes the image")
	d.say("$ felhom-golden build --recipe $DEMO/golden.yaml --compression fast --out $DEMO     (the base is cached for the next time)\n")
	archive, err := guest.Bake(ctx, d.binary("felhom-golden"), d.bed.Bed, d.dir, d.stderr)
	if err != nil {
		return err
	}
	d.say("\n%s\n", d.short(archive))

	d.head("The host: felhom-agentd")
	host, err := d.startHost(ctx, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Stop()) }()

	d.head("From the golden image to a guest whose controller is up")
	g, err := d.guestOf(vmid)
	if err != nil {
		return err
	}
	second, err := d.guestOf(other)
	if err != nil {
		return err
	}
	address := guestAddress(d.bed.Address, 200)
	if err := d.provision(ctx, host, archive, address); err != nil {
		return err
	}
	d.head("A second guest")
	if err := d.provisionOther(ctx, host, archive, guestAddress(d.bed.Address, 201)); err != nil {
		return err
	}
	d.head("The channel's acceptance table, by curl, from inside the guest's network")
	within := func(argv ...string) ([]string, error) { return g.InNetwork(ctx, argv...) }
	if err := d.table(ctx, host, within); err != nil {
		return err
	}
	d.head("A stolen token")
	if err := d.stolen(ctx, host, within, func(argv ...string) ([]string, error) { return second.InNetwork(ctx, argv...) }); err != nil {
		return err
	}
	d.head("The controller, as the guest's neighbours see it")
	if err := d.page(ctx, "http://"+address+":8080/"); err != nil {
		return err
	}
	d.head("Hotplug: the config mount leaves the running guest and comes back")
	if err := d.hotplug(ctx, host, g); err != nil {
		return err
	}
	d.head("What the guest recorded, read from its disk")
	if err := d.record(ctx, g); err != nil {
		return err
	}
	d.head("What the host knows now")
	socket, err := g.Socket(ctx, "run/docker.sock")
	if err != nil {
		return err
	}
	if err := d.known(ctx, host, socket); err != nil {
		return err
	}
	if err := d.wait(ctx, "curl http://"+address+":8080/"); err != nil {
		return err
	}
	d.head("Removing the guests")
	return errors.Join(d.undo(ctx, host, g), d.undo(ctx, host, second))
}

func (d *demo) guestOf(id string) (guest.Guest, error) {
	number, err := strconv.Atoi(id)
	return guest.Guest{VMID: number, Path: d.bed.LXCPath()}, err
}

func guestAddress(bridge string, last byte) string {
	a := netip.MustParseAddr(bridge).As4()
	a[3] = last
	return netip.AddrFrom4(a).String()
}

// agentd runs felhom-agentd where root may map a guest's ids.
func (d *demo) agentd(ctx context.Context, h *hostSide, args ...string) (int, error) {
	return d.run(ctx, run.Quote("felhom-agentd", append([]string{"--config", h.Config}, args...)...), h.Command(args...))
}

func (d *demo) provision(ctx context.Context, h *hostSide, archive, address string) error {
	start := time.Now()
	code, err := d.agentd(ctx, h, "provision", "--vmid", vmid, "--hostname", "demo", "--golden", archive, "--ip", address+"/24")
	if err != nil {
		return err
	}
	d.check(code == 0, "guest %s is there and its controller is healthy: exit %d, want 0, in %v", vmid, code, time.Since(start).Round(100*time.Millisecond))
	if code != 0 {
		return errors.New("without a guest there is nothing more to show")
	}
	d.say("\nNothing was executed in the guest: the host wrote a file, and what was baked in acted on it.")
	text, err := h.readMount(vmid)
	if err != nil {
		return err
	}
	d.say("What the guest found in its mount:\n\n%s\n", indent(redact(text)))
	if err := d.readRegistryToken(h); err != nil {
		return err
	}
	return d.credentialFree(h)
}

// provisionOther makes the guest whose token is stolen, and which steals one.
func (d *demo) provisionOther(ctx context.Context, h *hostSide, archive, address string) error {
	start := time.Now()
	code, err := d.agentd(ctx, h, "provision", "--vmid", other, "--hostname", "demo-second", "--golden", archive, "--ip", address+"/24")
	if err != nil {
		return err
	}
	d.check(code == 0, "guest %s is there and its controller is healthy: exit %d, want 0, in %v", other, code, time.Since(start).Round(100*time.Millisecond))
	if code != 0 {
		return errors.New("without a second guest nothing can be stolen")
	}
	_, err = h.readMount(other)
	return err
}

// credentialFree looks for the registry's credential in the guest's mount and in
// what its disk keeps of settings and logins.
func (d *demo) credentialFree(h *hostSide) error {
	g, err := d.guestOf(vmid)
	if err != nil {
		return err
	}
	root := g.Rootfs()
	files, held := 0, []string{}
	for _, dir := range []string{h.Mount(vmid), filepath.Join(root, "etc"), filepath.Join(root, "root"), filepath.Join(root, "opt"), filepath.Join(root, "var/lib/felhom")} {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			files++
			data, err := os.ReadFile(path)
			if strings.Contains(string(data), h.secrets["registry"]) {
				held = append(held, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the guest runs: files come and go
			return err
		}
	}
	d.check(files > 3 && len(held) == 0, "the image came through the host, and none of %d files of the guest's mount and settings holds the registry's credential", files)
	return nil
}

func (d *demo) page(ctx context.Context, url string) error {
	page, err := get(ctx, url)
	d.say("$ curl %s\n\n%s\n", url, indent(page))
	if err != nil {
		return err
	}
	d.check(strings.Contains(page, "mode:     configured"), "the controller is configured, not in setup mode")
	d.check(strings.Contains(page, "host:     demo-felhom\n"), "it knows its host")
	d.check(strings.Contains(page, "storage:  200 OK {"), "its own token gets 200 from the host's /storage, from inside the container")
	return nil
}

func (d *demo) hotplug(ctx context.Context, h *hostSide, g guest.Guest) error {
	before, err := runOf(g)
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, verb := range []string{"detach", "attach"} {
		code, err := d.agentd(ctx, h, "guest", verb, vmid)
		if err != nil {
			return err
		}
		d.check(code == 0, "the mount is %sed: exit %d, want 0", verb, code)
		if verb == "detach" {
			if err := unplugged(wait, g); err != nil {
				return err
			}
		}
	}
	start := time.Now()
	err = guest.Poll(wait, func() error {
		switch now, err := runOf(g); {
		case err != nil:
			return err
		case now == before:
			return errors.New("no new run is recorded")
		}
		return nil
	})
	d.check(err == nil, "it starts the bootstrap in the guest, whose run is over %v after the mount", time.Since(start).Round(10*time.Millisecond))
	return err
}

// unplugged waits until the guest's systemd has seen that the mount is gone: it
// reads the list of mounts a few times a second at most, and does not notice one
// that is back before that.
func unplugged(ctx context.Context, g guest.Guest) error {
	return guest.Poll(ctx, func() error {
		state, err := g.Ask(ctx, "systemctl", "show", "--property=ActiveState", "--value", `etc-felhom\x2dbootstrap.mount`)
		if strings.TrimSpace(state) != "inactive" {
			err = errors.Join(err, fmt.Errorf("the mount is %s", strings.TrimSpace(state)))
		}
		return err
	})
}

// runOf returns the ID of the last run that the guest recorded.
func runOf(g guest.Guest) (string, error) {
	data, err := os.ReadFile(filepath.Join(g.Rootfs(), "var/lib/felhom/bootstrap-result.json"))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(data), `"run": "`)
	id, _, ok := strings.Cut(rest, `"`)
	if !ok {
		return "", errors.New("the record names no run")
	}
	return id, nil
}

func (d *demo) record(ctx context.Context, g guest.Guest) error {
	code, err := d.program(ctx, "felhom-controller-bootstrap", "--root", g.Rootfs(), "status")
	if err != nil {
		return err
	}
	d.check(code == 0, "the last run ended well: exit %d, want 0", code)
	return nil
}

func (d *demo) undo(ctx context.Context, h *hostSide, g guest.Guest) error {
	id := strconv.Itoa(g.VMID)
	code, err := d.agentd(ctx, h, "guest", "remove", "--force", id)
	if err != nil {
		return err
	}
	_, guestErr := os.Lstat(g.Dir())
	_, mountErr := os.Lstat(h.Mount(id))
	d.check(code == 0 && errors.Is(guestErr, os.ErrNotExist) && errors.Is(mountErr, os.ErrNotExist),
		"guest %s is gone, with its disk, its mount and its token: exit %d, want 0", id, code)
	return nil
}
