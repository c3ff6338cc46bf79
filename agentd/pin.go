package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/identity"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/pin"
	"github.com/felhom/felhom-golden/internal/regular"
)

func pinCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "pin", Usage: "Print the pins of this host's certificates, or rotate its keys",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			cfg, err := loadConfig(c.String("config"))
			if err != nil {
				return err
			}
			return showPins(c.Context, cfg, c.Bool("json"), time.Now, stdout)
		},
		Subcommands: []*cli.Command{{
			Name: "rotate", Usage: "Make the next key the current one; no pinned request fails",
			Description: `Each guest's mount has the pins of both keys, so that all guests accept the
next key. The daemon shows it within seconds; then a new next key is in all
mounts. A guest whose mount cannot be written is named: run the command
again, which finishes the same rotation. So does a run after a kill.

Example:
   felhom-agentd pin rotate`,
			Flags: []cli.Flag{jsonFlag()},
			Action: func(c *cli.Context) error {
				cfg, err := loadConfig(c.String("config"))
				if err != nil {
					return err
				}
				return pinRotate(c.Context, cfg, c.Bool("json"), stdout, stderr)
			},
		}},
	}
}

// rotation is what a pin rotate has to finish. It is on disk from the first
// change until all mounts have both keys' pins.
type rotation struct {
	To pin.Pin `json:"to"` // of the key that becomes the current one
}

const rotationFile = "rotation.json"

// showPatience is how long pin rotate waits for the daemon to show the new key.
const showPatience = 30 * time.Second

// rotator is one run of pin rotate.
type rotator struct {
	cfg     config.Config
	host    host
	store   *guests.Store
	mounts  *provision.Provisioner
	hv      driver.Hypervisor // nil: it is not asked
	missing []error           // mounts that could not be looked at or written
	written []int
}

// rotated is what pin rotate prints.
type rotated struct {
	Current string `json:"current"`
	Next    string `json:"next"`
	Guests  []int  `json:"guests"` // whose mounts have both pins
}

func pinRotate(ctx context.Context, cfg config.Config, asJSON bool, stdout, stderr io.Writer) (err error) {
	if err := command.RequireRoot("pin rotate"); err != nil {
		return err
	}
	unlock, err := claimRotation(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	// Under the lock: the keys of before another rotation's end would be rotated
	// once more.
	h, err := openHost(ctx, cfg, time.Now)
	if err != nil {
		return err
	}
	o, done, err := provisionOptions(cfg, newTeller(stderr))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	r := &rotator{cfg: cfg, host: h, store: store, mounts: provision.New(o)}
	if o.HasHypervisor {
		r.hv = o.Hypervisor
	}
	if err := r.run(ctx); err != nil {
		return err
	}
	out := rotated{r.host.pins()[0].String(), r.host.pins()[1].String(), append([]int{}, r.written...)}
	if asJSON {
		return printJSON(stdout, out)
	}
	_, err = fmt.Fprintf(stdout, "current spki  %s\nnext    spki  %s\n%d guests have both pins\n", out.Current, out.Next, len(out.Guests))
	return err
}

// claimRotation keeps other processes from rotating the keys.
func claimRotation(cfg config.Config) (unlock func() error, err error) {
	if err := atomicfile.MakeDirectory(cfg.StateDir, 0o700); err != nil { // openHost makes it, and has not run yet
		return nil, err
	}
	unlock, err = filelock.Claim(filepath.Join(cfg.StateDir, "pin-rotate.lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, fault.WrapHint(fault.Busy, fmt.Errorf("pin rotate: %w", err), "that process rotates the keys now; wait for it")
	}
	return unlock, err
}

// run does what is left of the rotation. Each step is safe to repeat:
// the order is that every mount has the next key's pin, then the keys are
// switched, then the daemon shows the new one, and only then mounts lose the old
// pin.
func (r *rotator) run(ctx context.Context) error {
	to, err := r.begin(ctx)
	if err != nil {
		return err
	}
	if r.host.pins()[0] != to {
		if err := r.eachGuest(ctx, r.prepare); err != nil {
			return err
		}
		if err := r.missed("the old key is still shown, because these guests may not accept the next one"); err != nil {
			return err
		}
		if err := withFiles(ctx, r.cfg, func(files identity.Files) error { return files.Switch() }); err != nil {
			return err
		}
		if r.host, err = openHost(ctx, r.cfg, time.Now); err != nil {
			return err
		}
	}
	if err := r.untilShown(ctx); err != nil {
		return err
	}
	if err := r.eachGuest(ctx, r.renew); err != nil {
		return err
	}
	if err := r.missed("the new key is shown, which these guests accept; they need the pin of the one after it"); err != nil {
		return err
	}
	// If it came back, the next rotation would be taken for this one.
	return atomicfile.In(tlsDir(r.cfg), func(root *os.Root) error { return atomicfile.Remove(root, rotationFile) })
}

// begin returns the pin of the key that is to become the current one: an
// interrupted rotation's, or the next key's.
func (r *rotator) begin(ctx context.Context) (to pin.Pin, err error) {
	unlock, err := lockKeys(ctx, r.cfg) // others remove unfinished files there
	if err != nil {
		return to, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	err = atomicfile.In(tlsDir(r.cfg), func(root *os.Root) error {
		data, err := regular.ReadIn(root, rotationFile, 4<<10)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if to = interrupted(data, r.host.pins()); !to.IsZero() {
			return nil
		}
		to = r.host.pins()[1]
		if data, err = json.Marshal(rotation{to}); err != nil {
			return err
		}
		return atomicfile.Write(root, rotationFile, append(data, '\n'), atomicfile.Attr{Mode: 0o600})
	})
	return to, err
}

// interrupted returns the pin of the key that the rotation in data makes the current
// one: the zero Pin if data is not a rotation, or if its keys were replaced from a
// backup since.
func interrupted(data []byte, pins pin.Set) pin.Pin {
	var was rotation
	if json.Unmarshal(data, &was) != nil || !slices.Contains(pins, was.To) {
		return pin.Pin{}
	}
	return was.To
}

// eachGuest calls work for each guest of this host and collects what could not
// be done.
func (r *rotator) eachGuest(ctx context.Context, work func(context.Context, int) error) error {
	records, broken, err := r.store.List()
	if err != nil {
		return err
	}
	r.missing, r.written = nil, []int{}
	for _, err := range broken {
		r.missing = append(r.missing, err)
	}
	for _, record := range records {
		if r.hv != nil && r.cfg.Hypervisor == config.HypervisorPCT && pct.IsElsewhere(pct.DefaultDir, record.VMID) {
			continue // the daemon of that node writes its mount
		}
		switch err := work(ctx, record.VMID); {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, provision.ErrNoMount) && r.isElsewhere(ctx, record.VMID), errors.Is(err, guests.ErrNotFound):
		case err != nil:
			r.missing = append(r.missing, err)
		default:
			r.written = append(r.written, record.VMID)
		}
	}
	return nil
}

// isElsewhere reports whether the hypervisor of this node does not know the
// guest: it is another node's, or was destroyed.
func (r *rotator) isElsewhere(ctx context.Context, vmid int) bool {
	if r.hv == nil {
		return false
	}
	_, err := r.hv.Guest(ctx, vmid)
	return errors.Is(err, driver.ErrNotFound)
}

// missed returns what could not be done, with what that means.
func (r *rotator) missed(means string) error {
	if len(r.missing) == 0 {
		return nil
	}
	var hints []string
	for _, err := range r.missing {
		if hint := fault.HintOf(err); hint != "" && !slices.Contains(hints, hint) {
			hints = append(hints, hint)
		}
	}
	hints = append(hints, "then felhom-agentd pin rotate again, which finishes this rotation; felhom-agentd guest remove makes the host forget a guest")
	return fault.WrapHint(fault.NotReady, fmt.Errorf("%s: %w", means, errors.Join(r.missing...)), strings.Join(hints, "\n"))
}

// prepare makes sure that the guest accepts the next key.
func (r *rotator) prepare(ctx context.Context, vmid int) error {
	if has, err := r.mounts.Pins(vmid, provision.Host{Pins: r.host.pins()[1:]}); has || err != nil {
		return err
	}
	return r.renew(ctx, vmid)
}

func (r *rotator) renew(ctx context.Context, vmid int) error {
	_, err := r.mounts.Renew(ctx, vmid, provision.Renewal{
		Host: provision.Host{Endpoint: r.host.endpoint(), Pins: r.host.pins()}, Certificates: r.host.certificates(),
	})
	return err
}

// untilShown waits until each address shows the current key, or nothing listens
// there: a daemon that starts later shows it.
func (r *rotator) untilShown(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, showPatience)
	defer cancel()
	for _, address := range r.host.addrs {
		for {
			err := shows(limit, address, r.host.pins()[0])
			if err == nil {
				break
			}
			select {
			case <-limit.Done():
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return fault.WrapHint(fault.NotReady, fmt.Errorf("the key was changed, and %s does not show it: %w", address, err),
					"see the daemon's log, or restart it: systemctl restart felhom-agentd; then felhom-agentd pin rotate again, which finishes this rotation")
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return nil
}

// shows makes a handshake, sends nothing, and compares the key.
func shows(ctx context.Context, address netip.AddrPort, want pin.Pin) error {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 5 * time.Second}, Config: pin.ClientTLS(pin.Set{want})}
	conn, err := dialer.DialContext(ctx, "tcp", address.String())
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return err
	}
	return conn.Close()
}
