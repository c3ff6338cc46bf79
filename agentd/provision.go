package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// guestFlags are the keys of a guest that are flags too, with their help. A "-"
// in a flag is a "_" in its key.
var guestFlags = []struct{ name, usage string }{
	{"vmid", "`NUMBER` of the guest, 100 to 999999999"},
	{"golden", "archive to restore: an absolute `PATH`, or a volume of PVE"},
	{"image", "the controller's image, in place of the configuration's: a full `REFERENCE`"},
	{"profile", "what the container gets unasked: felhom or plain"},
	{"ready-wait", "`DURATION` that the controller may take to become ready"},
	{"env-file", "`FILE` with secret variables of the container, mode 0600"},
	{"hostname", "`NAME` of the guest"},
	{"storage", "PVE: `STORAGE` of the root file system"},
	{"rootfs", "size of the root file system in `GIB`"},
	{"bridge", "`BRIDGE` of eth0"},
	{"vlan", "VLAN `TAG` of eth0"},
	{"ip", "an `ADDRESS` with its network's length such as 192.0.2.7/24, dhcp, or manual"},
	{"gateway", "`ADDRESS` of the gateway, for a guest with an address as --ip"},
	{"ip6", "an IPv6 `ADDRESS` with its network's length, auto, dhcp, or manual"},
	{"gateway6", "IPv6 `ADDRESS` of the gateway, such as fe80::1, for an address as --ip6"},
	{"nameserver", "`ADDRESS` of the guest's name server; up to three with blanks between"},
	{"memory", "`MIB` of memory of the guest; with a unit, such as 512m, the container's limit"},
	{"swap", "`MIB` of swap"},
	{"cores", "`NUMBER` of processors"},
	{"onboot", "start it with the host: true or false"},
}

// containerFlags are the flags of the guest's container.
func containerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "env", Usage: "set a variable of the container, `NAME=VALUE`; may be repeated"},
		&cli.StringSliceFlag{Name: "label", Usage: "set a label of the container, `NAME=VALUE`; may be repeated"},
		&cli.StringSliceFlag{Name: "publish", Usage: "publish a port, `HOSTPORT:PORT`; may be repeated, and replaces the list"},
		&cli.StringSliceFlag{Name: "volume", Usage: "mount a volume, `SOURCE:TARGET`; may be repeated, and replaces the list"},
		&cli.StringFlag{Name: "command", Usage: "run `WORDS` in place of the image's own command"},
	}
}

type provisionArgs struct {
	guests []config.Guest // as asked for, without defaults
	isSpec bool           // they are a specification's
	change bool           // they exist, and are not started
	wait   *time.Duration // nil: the configuration's
	asJSON bool
}

func provisionCommand(stdout, stderr io.Writer) *cli.Command {
	flags := append([]cli.Flag{
		&cli.BoolFlag{Name: "no-start", Usage: "leave the guest stopped"},
		waitFlag(),
		jsonFlag(),
	}, guestFlagList()...)
	return &cli.Command{
		Name: "provision", Usage: "make a guest from a golden image and see its controller come up",
		Description: `Mints a token, writes the config mount, restores the golden image, attaches the mount, starts the guest and waits for its
reports. When a step fails, all before it are undone. The same command again finishes what was interrupted, and
changes nothing if all is as it should be. What is not given comes from "provision" in the configuration.

Exit codes are those of felhom-agentd --help. After 5, "nothing was reported" or "its controller is not up", the guest stays.

Example:
   felhom-agentd provision --vmid 8200 --hostname web --ip 192.0.2.7/24`,
		Flags: flags,
		Action: func(c *cli.Context) error {
			o, err := provisionFlags(c, false)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(c.String("config"))
			if err != nil {
				return err
			}
			return provisionGuests(c.Context, cfg, o, "provision", stdout, stderr)
		},
	}
}

func waitFlag() cli.Flag {
	return &cli.DurationFlag{Name: "wait", Usage: "how long to wait for the guest's bootstrap; 0s: not at all", DefaultText: "provision.wait, 5m"}
}

// waitOf returns the value of --wait, nil if it is not given.
func waitOf(c *cli.Context) (*time.Duration, error) {
	if !c.IsSet("wait") {
		return nil, nil
	}
	wait := c.Duration("wait")
	if wait < 0 {
		return nil, misuse(c, fmt.Errorf("--wait is %v, want 0s or more", wait))
	}
	return &wait, nil
}

// guestFlagList returns the flags that describe the guests.
func guestFlagList() []cli.Flag {
	flags := []cli.Flag{&cli.StringFlag{Name: "spec", Usage: "`FILE` with several guests (docs/agentd.md)"}}
	for _, f := range guestFlags {
		flags = append(flags, &cli.StringFlag{Name: f.name, Usage: f.usage})
	}
	return append(flags, containerFlags()...)
}

// provisionFlags reads the flags; isOptional allows no guest at all.
func provisionFlags(c *cli.Context, isOptional bool) (provisionArgs, error) {
	o := provisionArgs{asJSON: c.Bool("json")}
	var err error
	if o.wait, err = waitOf(c); err != nil {
		return o, err
	}
	g, isSet, err := flaggedGuest(c)
	if c.Bool("no-start") {
		no := false
		g.Start = &no
	}
	isSet = isSet || c.IsSet("no-start")
	switch {
	case err != nil:
		return o, misuse(c, err)
	case c.IsSet("spec") && isSet:
		return o, misuse(c, errors.New("--spec together with a flag of one guest: write it into the file"))
	case c.IsSet("spec"):
		o.isSpec = true
		o.guests, err = readGuests(c.String("spec"))
		return o, err
	case isOptional && !isSet:
		return o, nil
	case g.VMID == 0:
		return o, misuse(c, errors.New("--vmid is missing, or --spec for several guests"))
	}
	o.guests = []config.Guest{g}
	return o, nil
}

// flaggedGuest returns what the flags of one guest say, those of guestFlags and
// of its container that c has.
func flaggedGuest(c *cli.Context) (g config.Guest, isSet bool, err error) {
	var all []error
	for _, f := range guestFlags {
		if !c.IsSet(f.name) {
			continue
		}
		isSet = true
		if err := setGuest(&g, f.name, c.String(f.name)); err != nil {
			all = append(all, fmt.Errorf("--%s: %w", f.name, err))
		}
	}
	for _, f := range containerFlags() {
		isSet = isSet || c.IsSet(f.Names()[0])
	}
	container, err := config.ContainerFlags{
		Env: c.StringSlice("env"), Labels: c.StringSlice("label"), Publish: c.StringSlice("publish"), Volumes: c.StringSlice("volume"),
		Command: c.String("command"), Memory: containerMemory(c),
	}.Container()
	g.Container = container
	return g, isSet, errors.Join(append(all, err)...)
}

// setGuest sets the key of one flag.
func setGuest(g *config.Guest, name, value string) error {
	switch {
	case name == "memory" && hasUnit(value):
		return nil // the container's
	case name == "env-file" && value != "":
		// A path on the command line is relative to the working directory.
		full, err := filepath.Abs(value)
		if err != nil {
			return err
		}
		value = full
	}
	return g.Set(strings.ReplaceAll(name, "-", "_"), value)
}

// containerMemory returns the value of --memory if it is the container's limit.
func containerMemory(c *cli.Context) string {
	if value := c.String("memory"); hasUnit(value) {
		return value
	}
	return ""
}

// hasUnit reports whether value is a number with a unit, such as 512m.
func hasUnit(value string) bool {
	number := strings.TrimRight(value, "bBkKmMgGtTiI")
	_, err := strconv.ParseFloat(number, 64)
	return err == nil && number != value
}

// jobOf returns the job for a guest as it is asked for, with the
// configuration's defaults. The error has what is wrong with it by itself; the
// job is as far as it is known.
func jobOf(cfg config.Config, asked config.Guest, isSpec bool) (provision.Job, error) {
	g, given := asked.With(cfg.Provision.Guest), specOf(asked)
	var all []error
	for _, err := range fault.Each(g.Check()) {
		all = append(all, fault.WrapHint(fault.Invalid, err, "felhom-agentd provision --help, or docs/agentd.md"))
	}
	if len(g.Repositories) > 0 && cfg.RegistryAccess != config.RegistryProxy {
		all = append(all, fault.WrapHint(fault.Invalid, errors.New("repositories: only registry_access: proxy uses it"), "docs/registry.md"))
	}
	job := provision.Job{
		VMID: g.VMID, Start: g.Start == nil || *g.Start, IsWhole: isSpec,
		Asked: provision.Asked{Image: g.Image, Profile: g.Profile, ReadyWait: g.ReadyWait, Container: g.Container, Repositories: g.Repositories},
		Spec:  specOf(g), Given: &given,
	}
	if g.EnvFile != "" {
		secrets, err := provision.ReadEnvFile(g.EnvFile)
		for _, one := range fault.Each(err) {
			all = append(all, fmt.Errorf("env_file: %w", one))
		}
		job.Secrets = secrets
	}
	return job, errors.Join(all...)
}

func specOf(g config.Guest) driver.Spec {
	return driver.Spec{
		Archive: g.Golden, Hostname: g.Hostname, Storage: g.Storage, RootfsGiB: g.Rootfs,
		Cores: g.Cores, MemoryMiB: g.Memory, SwapMiB: g.Swap, OnBoot: g.OnBoot,
		Nameserver: g.Nameserver, Net: g.Net(),
	}
}

// provisionedGuest is what is printed of one guest.
type provisionedGuest struct {
	Guest    int      `json:"guest"`
	Hostname string   `json:"hostname,omitempty"`
	Outcome  string   `json:"outcome"` // provisioned, finished, unchanged, started, updated
	Report   string   `json:"report"`  // done, or not-waited
	Seconds  float64  `json:"seconds"`
	URLs     []string `json:"urls,omitempty"`
	Note     string   `json:"note,omitempty"`
}

// line returns what a person reads of the guest.
func (g provisionedGuest) line() string {
	text := fmt.Sprintf("guest %d", g.Guest)
	if g.Hostname != "" {
		text += " (" + g.Hostname + ")"
	}
	switch {
	case g.Report != "done":
		return text + ": " + g.Outcome + ", not waited for"
	case g.Outcome == string(provision.Unchanged):
		text += ": up, unchanged"
	default:
		text += fmt.Sprintf(": up in %.1fs", g.Seconds)
	}
	if len(g.URLs) > 0 {
		text += ": " + strings.Join(g.URLs, " ")
	}
	if g.Note != "" {
		text += " (" + g.Note + ")"
	}
	return text
}

// provisionGuests starts the guests one after the other, and then waits for all
// of them, which boot at the same time.
func provisionGuests(ctx context.Context, cfg config.Config, o provisionArgs, what string, stdout, stderr io.Writer) (err error) {
	if err := command.RequireRoot(what); err != nil {
		return err
	}
	wait := cfg.Provision.Wait
	if o.wait != nil {
		wait = *o.wait
	}
	jobs, found := jobsOf(cfg, o)
	if wait > 0 && slices.ContainsFunc(jobs, func(j provision.Job) bool { return j.Start || j.IsChange }) {
		found.add("", checkServing(ctx, cfg))
	}
	_, err = listener.Addresses(cfg.Listen, cfg.Bridge, config.DefaultPort)
	// One guest is checked before its first change; of several, the first would
	// be made before the last is checked.
	if err != nil || len(found) > 0 || len(jobs) > 1 {
		if _, err := found.look(ctx, cfg, o, jobs, silent{}); err != nil {
			return err
		}
	}
	p, done, err := writerOf(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	summaries, err := p.All(ctx, jobs, wait)
	out := make([]provisionedGuest, 0, len(summaries))
	for _, s := range summaries {
		if s.Outcome == "" || s.Failed {
			continue
		}
		g := provisionedGuest{
			Guest: s.VMID, Hostname: s.Hostname, Outcome: string(s.Outcome), Report: "not-waited",
			Seconds: float64(s.Took.Milliseconds()) / 1000, URLs: s.URLs, Note: s.Note,
		}
		if s.IsUp {
			g.Report = "done"
		}
		out = append(out, g)
	}
	return errors.Join(err, printProvisioned(stdout, out, o.asJSON))
}

// printProvisioned prints the guests that are as asked for, also if others are
// not.
func printProvisioned(stdout io.Writer, guests []provisionedGuest, asJSON bool) error {
	switch {
	case len(guests) == 0:
		return nil
	case asJSON:
		return printJSON(stdout, guests)
	}
	for _, g := range guests {
		if _, err := fmt.Fprintln(stdout, g.line()); err != nil {
			return err
		}
	}
	return nil
}
