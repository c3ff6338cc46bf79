package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/scratch"
)

func checkCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "Find all that would make provision fail, and change nothing",
		Description: `Checks the configuration, the bridge, the credential files, the daemon and the registries' logins; and with --spec, or the flags of provision, the guests: archive, addresses, VMIDs, container settings. All findings are printed, each with what to do.

Example:
   felhom-agentd check --spec guests.yaml`,
		Flags: append([]cli.Flag{jsonFlag()}, guestFlagList()...),
		Action: func(c *cli.Context) error {
			o, err := provisionFlags(c, true)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(c.String("config"))
			if err != nil {
				return err
			}
			if err := command.RequireRoot("check"); err != nil {
				return err
			}
			return checkHost(c.Context, cfg, o, stdout, stderr)
		},
	}
}

// findings collects what is wrong, in the order in which it is found.
type findings []error

// add keeps each error that err joins, each with its subject before it. Drivers
// name the guest themselves: it is not named twice. What the host lacks is not a
// guest's, and [fault.All] counts it once.
func (f *findings) add(about string, err error) {
	for _, one := range fault.Each(err) {
		if host := ofHost(one); host != nil {
			*f = append(*f, host)
			continue
		}
		place, guest := "", about
		if at := strings.LastIndex(about, ": "); at >= 0 {
			place, guest = about[:at], about[at+2:]
		}
		switch {
		case about == "":
		case !strings.HasPrefix(one.Error(), guest+": "):
			one = fmt.Errorf("%s: %w", about, one)
		case place != "":
			one = fmt.Errorf("%s: %w", place, one)
		}
		*f = append(*f, one)
	}
}

// ofHost returns err without the guest that a driver was asked for, if the hypervisor is not
// ready for any; nil if it is another error.
func ofHost(err error) error {
	for inner := err; errors.Is(inner, driver.ErrNotReady); inner = errors.Unwrap(inner) {
		if strings.HasPrefix(inner.Error(), driver.ErrNotReady.Error()) {
			return fault.WrapHint(fault.Of(err), inner, fault.HintOf(err))
		}
	}
	return nil
}

// foreseen is what check prints of a guest.
type foreseen struct {
	Guest   int    `json:"guest"`
	Outcome string `json:"outcome"` // of provision
}

func checkHost(ctx context.Context, cfg config.Config, o provisionArgs, stdout, stderr io.Writer) error {
	jobs, found := jobsOf(cfg, o)
	found.add("", checkServing(ctx, cfg))
	if len(cfg.AllRegistries()) > 0 {
		_, err := checkAll(ctx, cfg, "")
		found.add("", err)
	}
	outcomes, err := found.look(ctx, cfg, o, jobs, newTeller(stderr))
	if err != nil {
		return err
	}
	if o.asJSON {
		would := make([]foreseen, 0, len(jobs))
		for i, job := range jobs {
			would = append(would, foreseen{job.VMID, string(outcomes[i])})
		}
		return printJSON(stdout, would)
	}
	var lines strings.Builder
	for i, job := range jobs {
		fmt.Fprintf(&lines, "guest %d: would be %s\n", job.VMID, outcomes[i])
	}
	lines.WriteString("nothing was found that would fail\n")
	_, err = io.WriteString(stdout, lines.String())
	return err
}

// jobsOf turns the guests that are asked for into jobs with the configuration's
// defaults, and finds what is wrong with them by themselves. A guest with
// findings has its job all the same, for more of them.
func jobsOf(cfg config.Config, o provisionArgs) (jobs []provision.Job, found findings) {
	var asked []config.Guest
	for _, g := range o.guests {
		job, err := jobOf(cfg, g, o.isSpec)
		found.add(g.About(), err)
		if o.change {
			job.IsChange, job.Start = true, false
		}
		jobs, asked = append(jobs, job), append(asked, g.With(cfg.Provision.Guest))
	}
	found.add("", togetherFault(asked))
	return jobs, found
}

// look returns what would become of each job; the error has everything that was
// found, before and now. It changes nothing: a host without state gets none.
func (f *findings) look(ctx context.Context, cfg config.Config, o provisionArgs, jobs []provision.Job, observer provision.Observer) (outcomes []provision.Outcome, err error) {
	scratch, done, err := withoutState(cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	options, closeStore, err := provisionOptions(scratch, observer)
	if err != nil {
		f.add("", err)
		return nil, fault.All(*f...)
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	h, err := openHost(ctx, scratch, time.Now)
	if err != nil {
		f.add("", err)
		h, options.IsLookOnly = placeholder(), true
	}
	h.announce(scratch, &options)
	p := provision.New(options)
	if len(o.guests) == 0 {
		f.add("", p.CheckBootstrap())
	}
	for i, job := range jobs {
		outcome, err := p.Check(ctx, job)
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause // what could not be looked at is not a finding
		}
		f.add(o.guests[i].About(), err)
		outcomes = append(outcomes, outcome)
	}
	return outcomes, fault.All(*f...)
}

// withoutState returns cfg with a temporary directory for state, which done
// removes, if this host has none yet: a check makes no keys and no records. What a
// killed check left of that is removed.
func withoutState(cfg config.Config) (_ config.Config, done func() error, err error) {
	if err := scratch.Sweep(os.TempDir()); err != nil {
		return cfg, nil, err
	}
	if _, err := os.Stat(filepath.Join(cfg.StateDir, "tls")); !errors.Is(err, fs.ErrNotExist) {
		return cfg, func() error { return nil }, nil
	}
	dir, err := scratch.New("")
	if err != nil {
		return cfg, nil, err
	}
	if cfg.StoreDir == filepath.Join(cfg.StateDir, "guests") {
		cfg.StoreDir = filepath.Join(dir.Path, "guests")
	}
	cfg.StateDir = dir.Path
	return cfg, dir.Close, nil
}

// checkServing returns an error if the daemon does not answer: without it no
// report of a guest arrives, and the wait would time out.
func checkServing(ctx context.Context, cfg config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := askHealth(ctx, cfg.HealthSocket); err != nil {
		return fault.WrapHint(fault.NotReady, fmt.Errorf("felhom-agentd does not serve: %w", err),
			"systemctl start felhom-agentd; or do not wait for the guest: --wait 0s")
	}
	return nil
}
