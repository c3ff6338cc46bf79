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
	"github.com/felhom/felhom-golden/internal/fault"
)

func checkCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "Find all that would make provision fail, and change nothing",
		Description: `Checks the configuration, the bridge, the credential files, the daemon and the registries' logins; and with --spec, or the flags of provision, the guests: archive, addresses, VMIDs, container settings. All findings are printed, each with what to do.

Example:
   felhom-agentd check --spec guests.yaml`,
		Flags: guestFlagList(),
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

// add keeps each error that err joins, with what it is about before it.
func (f *findings) add(about string, err error) {
	for _, one := range fault.Each(err) {
		if about != "" {
			one = fmt.Errorf("%s: %w", about, one)
		}
		*f = append(*f, one)
	}
}

func checkHost(ctx context.Context, cfg config.Config, o provisionArgs, stdout, stderr io.Writer) (err error) {
	var found findings
	jobs, asked := make([]provision.Job, 0, len(o.guests)), make([]config.Guest, 0, len(o.guests))
	for _, g := range o.guests {
		job, err := jobOf(ctx, cfg, g, o.isSpec)
		found.add("", err)
		asked = append(asked, g.With(cfg.Provision.Guest))
		if err == nil {
			jobs = append(jobs, job)
		}
	}
	found.add("", fault.WrapHint(fault.Invalid, config.CheckTogether(asked), "give each guest an address of its own"))
	found.add("", checkServing(ctx, cfg))
	if len(cfg.AllRegistries()) > 0 {
		_, err := checkAll(ctx, cfg, "")
		found.add("", err)
	}
	scratch, done, err := withoutState(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	p, closeStore, err := writerOf(ctx, scratch, stderr)
	if err != nil {
		found.add("", err)
		return fault.All(found...)
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	if len(jobs) == 0 && len(o.guests) == 0 {
		found.add("", p.CheckBootstrap())
	}
	var lines []string
	for _, job := range jobs {
		outcome, err := p.Check(ctx, job)
		found.add(fmt.Sprintf("guest %d", job.VMID), err)
		if err == nil {
			lines = append(lines, fmt.Sprintf("guest %d: would be %s\n", job.VMID, outcome))
		}
	}
	if err := fault.All(found...); err != nil {
		return err
	}
	_, err = io.WriteString(stdout, strings.Join(lines, "")+"nothing was found that would fail\n")
	return err
}

// withoutState returns cfg with a directory for state that goes with done, if
// this host has none yet: a check makes no keys and no records.
func withoutState(cfg config.Config) (_ config.Config, done func() error, err error) {
	if _, err := os.Stat(filepath.Join(cfg.StateDir, "tls")); !errors.Is(err, fs.ErrNotExist) {
		return cfg, func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "felhom-agentd-check-")
	if err != nil {
		return cfg, nil, err
	}
	if cfg.StoreDir == filepath.Join(cfg.StateDir, "guests") {
		cfg.StoreDir = filepath.Join(dir, "guests")
	}
	cfg.StateDir = dir
	return cfg, func() error { return os.RemoveAll(dir) }, nil
}

// checkServing wants the daemon to answer: without it no report of a guest
// arrives, and the wait would time out.
func checkServing(ctx context.Context, cfg config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := askHealth(ctx, cfg.HealthSocket); err != nil {
		return fault.WrapHint(fault.NotReady, fmt.Errorf("felhom-agentd does not serve: %w", err),
			"systemctl start felhom-agentd; or do not wait for the guest: --wait 0s")
	}
	return nil
}
