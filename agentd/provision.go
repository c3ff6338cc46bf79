package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/folder"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/fault"
)

// reportPoll is how often provision looks for what guests reported.
const reportPoll = 100 * time.Millisecond

// guestFlags are the keys of a guest that are flags too, with their help.
var guestFlags = []struct{ name, usage string }{
	{"vmid", "`NUMBER` of the guest, 100 to 999999999"},
	{"golden", "archive to restore: an absolute `PATH`, or a volume of PVE"},
	{"image", "the controller's image, in place of the configuration's: a full `REFERENCE`"},
	{"hostname", "`NAME` of the guest"},
	{"storage", "PVE: `STORAGE` of the root file system"},
	{"rootfs", "size of the root file system in `GIB`"},
	{"bridge", "`BRIDGE` of eth0"},
	{"vlan", "VLAN `TAG` of eth0"},
	{"ip", "dhcp, manual, or an `ADDRESS` with its network's length such as 192.0.2.7/24"},
	{"gateway", "`ADDRESS` of the gateway, for a guest with an address as --ip"},
	{"ip6", "auto, dhcp, manual, or an IPv6 `ADDRESS` with its network's length"},
	{"gateway6", "IPv6 `ADDRESS` of the gateway, such as fe80::1, for an address as --ip6"},
	{"nameserver", "`ADDRESS` of the guest's name server; up to three with blanks between"},
	{"memory", "`MIB` of memory"},
	{"swap", "`MIB` of swap"},
	{"cores", "`NUMBER` of processors"},
	{"onboot", "true or false: start it with the host"},
}

type provisionOptions struct {
	guests []config.Guest // as asked for, without defaults
	wait   *time.Duration // nil: the configuration's
	asJSON bool
}

func provisionCommand(stdout, stderr io.Writer) *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "spec", Usage: "`FILE` with several guests (docs/agentd.md)"},
		&cli.BoolFlag{Name: "no-start", Usage: "leave the guest stopped"},
		&cli.DurationFlag{Name: "wait", Usage: "how long to wait for the guest's bootstrap; 0s: not at all", DefaultText: "provision.wait, 5m"},
		jsonFlag(),
	}
	for _, f := range guestFlags {
		flags = append(flags, &cli.StringFlag{Name: f.name, Usage: f.usage})
	}
	return &cli.Command{
		Name: "provision", Usage: "make a guest from a golden and see its controller come up",
		Description: `Mints a token, writes the config mount, restores the golden, attaches the mount, starts the guest and waits for its
reports. When a step fails, all before it are undone. The same command again finishes what was interrupted, and
changes nothing where all is as it shall be. What is not given comes from "provision" in the configuration.

Exit codes are those of felhom-agentd --help. After 5, "nothing was reported" or "its controller is not up", the guest stays.

Example:
   felhom-agentd provision --vmid 8200 --hostname web --ip 192.0.2.7/24`,
		Flags: flags,
		Action: func(c *cli.Context) error {
			o, err := provisionFlags(c)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(c.String("config"))
			if err != nil {
				return err
			}
			return provisionGuests(c.Context, cfg, o, stdout, stderr)
		},
	}
}

func provisionFlags(c *cli.Context) (provisionOptions, error) {
	o := provisionOptions{asJSON: c.Bool("json")}
	if c.IsSet("wait") {
		wait := c.Duration("wait")
		if wait < 0 {
			return o, misuse(c, fmt.Errorf("--wait is %v, wanted 0s or more", wait))
		}
		o.wait = &wait
	}
	var all []error
	g := config.Guest{}
	if c.Bool("no-start") {
		no := false
		g.Start = &no
	}
	isSet := c.IsSet("no-start")
	for _, f := range guestFlags {
		if !c.IsSet(f.name) {
			continue
		}
		isSet = true
		if err := g.Set(f.name, c.String(f.name)); err != nil {
			all = append(all, fmt.Errorf("--%s: %w", f.name, err))
		}
	}
	switch {
	case len(all) > 0:
		return o, misuse(c, errors.Join(all...))
	case c.IsSet("spec") && isSet:
		return o, misuse(c, errors.New("--spec together with a flag of one guest: write it into the file"))
	case c.IsSet("spec"):
		data, err := readConfig(c.String("spec"))
		if err != nil {
			return o, fault.WrapHint(fault.Invalid, err, "name the file of the guests")
		}
		o.guests, err = config.ParseGuests(c.String("spec"), data)
		return o, fault.WrapHint(fault.Invalid, err, "docs/agentd.md describes every key")
	case g.VMID == 0:
		return o, misuse(c, errors.New("--vmid is missing, or --spec for several guests"))
	}
	o.guests = []config.Guest{g}
	return o, nil
}

// hypervisorOf returns the adapter of the configuration.
func hypervisorOf(cfg config.Config) (driver.Hypervisor, error) {
	if cfg.Hypervisor == config.HypervisorLXC {
		return lxc.New(lxc.Options{Path: cfg.LXCPath, Storage: folder.New(cfg.LXCPath), PerGuest: cfg.IDMap == config.IDMapPerGuest}), nil
	}
	return pct.New(pct.Options{MountDir: cfg.MountsDir})
}

func mountsOf(cfg config.Config) configmount.Dir {
	owner := configmount.OwnerHost
	if cfg.MountOwner == config.MountOwnerGuest {
		owner = configmount.OwnerGuest
	}
	return configmount.New(cfg.MountsDir, owner)
}

// jobOf turns a guest as it is asked for into a job.
func jobOf(g config.Guest) (provision.Job, error) {
	if err := g.Check(); err != nil {
		return provision.Job{}, fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d: %w", g.VMID, err), "felhom-agentd provision --help, or docs/agentd.md")
	}
	return provision.Job{
		VMID: g.VMID, Image: g.Image, Start: g.Start == nil || *g.Start,
		Spec: driver.Spec{
			Archive: g.Golden, Hostname: g.Hostname, Storage: g.Storage, RootfsGiB: g.Rootfs,
			Cores: g.Cores, MemoryMiB: g.Memory, SwapMiB: g.Swap, OnBoot: g.OnBoot,
			Nameserver: g.Nameserver, Net: g.Net(),
		},
	}, nil
}

// provisionedGuest is what is printed of one.
type provisionedGuest struct {
	Guest   int     `json:"guest"`
	Outcome string  `json:"outcome"` // provisioned, finished, unchanged, started, updated
	Report  string  `json:"report"`  // done, or not-waited
	Seconds float64 `json:"seconds"`
}

// provisionGuests takes the guests one after the other to their start, and then
// waits for all of them: they boot side by side.
func provisionGuests(ctx context.Context, cfg config.Config, o provisionOptions, stdout, stderr io.Writer) (err error) {
	if err := command.RequireRoot("provision"); err != nil {
		return err
	}
	wait := cfg.Provision.Wait
	if o.wait != nil {
		wait = *o.wait
	}
	var jobs []provision.Job
	var all []error
	var asked []config.Guest
	for _, g := range o.guests {
		g = g.With(cfg.Provision.Guest)
		job, err := jobOf(g)
		asked, jobs, all = append(asked, g), append(jobs, job), append(all, err)
	}
	all = append(all, fault.WrapHint(fault.Invalid, config.CheckTogether(asked), "give each guest an address of its own"))
	if err := errors.Join(all...); err != nil {
		return err
	}
	p, done, err := openProvision(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	if wait > 0 && slices.ContainsFunc(jobs, func(j provision.Job) bool { return j.Start }) {
		if err := checkServing(ctx, cfg); err != nil {
			return err
		}
	}
	begun := time.Now()
	out := make([]provisionedGuest, len(jobs))
	results := make([]provision.Result, len(jobs))
	for i, job := range jobs {
		// One guest's failure says nothing about the next one.
		if results[i], err = p.Apply(ctx, job); err != nil {
			all = append(all, fmt.Errorf("provision guest %d: %w", job.VMID, err))
			if ctx.Err() != nil {
				break
			}
			continue
		}
		out[i] = provisionedGuest{Guest: job.VMID, Outcome: string(results[i].Outcome), Report: "not-waited", Seconds: since(begun)}
	}
	deadline := time.Now().Add(wait) // one for all: they boot side by side
	for i, job := range jobs {
		if wait == 0 || !job.Start || out[i].Outcome == "" || ctx.Err() != nil {
			continue
		}
		if err := p.Wait(ctx, job.VMID, results[i].After, time.Until(deadline)); err != nil {
			all = append(all, err)
			continue
		}
		out[i].Report, out[i].Seconds = "done", since(begun)
	}
	if err := errors.Join(all...); err != nil {
		return err
	}
	if o.asJSON {
		return printJSON(stdout, out)
	}
	for _, g := range out {
		text := "its controller is up"
		if g.Report != "done" {
			text = "not waited for"
		}
		if _, err := fmt.Fprintf(stdout, "guest %d %s, %s (%.1f s)\n", g.Guest, g.Outcome, text, g.Seconds); err != nil {
			return err
		}
	}
	return nil
}

func since(t time.Time) float64 { return float64(time.Since(t).Milliseconds()) / 1000 }

// openProvision opens what provisioning works with; done closes it.
func openProvision(ctx context.Context, cfg config.Config, stderr io.Writer) (p provision.Options, done func() error, err error) {
	h, err := openHost(ctx, cfg, time.Now)
	if err != nil {
		return p, nil, err
	}
	hypervisor, err := hypervisorOf(cfg)
	if err != nil {
		return p, nil, err
	}
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	if err != nil {
		return p, nil, err
	}
	return provision.Options{
		Hypervisor: hypervisor, Store: store, Mounts: mountsOf(cfg), StateDir: cfg.StateDir, Overlap: cfg.Limits.TokenOverlap,
		Bootstrap: func(vmid int, image string) (contract.Bootstrap, error) {
			return bootstrapOf(cfg.WithImage(image), h, vmid)
		},
		Observer: newTeller(stderr), Now: time.Now, Poll: reportPoll,
		BridgeAddresses: listener.InterfaceAddresses, Resolver: resolverOf(cfg),
	}, store.Close, nil
}

// resolverOf returns the resolv.conf that a guest without name servers gets: PVE
// gives it the host's.
func resolverOf(cfg config.Config) string {
	if cfg.Hypervisor == config.HypervisorLXC {
		return ""
	}
	return "/etc/resolv.conf"
}

// checkServing wants the daemon to answer: without it a guest has nobody to
// report to, and the wait would be in vain.
func checkServing(ctx context.Context, cfg config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := askHealth(ctx, cfg.HealthSocket); err != nil {
		return fault.WrapHint(fault.NotReady, fmt.Errorf("felhom-agentd does not serve: %w", err),
			"systemctl start felhom-agentd; or do not wait for the guest: --wait 0s")
	}
	return nil
}
