package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/audit"
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/doctor"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/fault"
)

// doctorLimit is how long a check may take, unless --timeout says otherwise.
const doctorLimit = 20 * time.Second

func doctorCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "Find what is wrong on this host, and say what to do",
		Description: `Checks configuration, addresses, daemon, certificates, store, mounts, id ranges, bridge, firewall, clock, registries, hypervisor, golden image, guests and audit log. Changes nothing and shows no secret. All checks run, also if one hangs. The list goes to stdout whatever was found; the exit code is 0 if nothing failed (docs/exit-codes.md).

Example:
   felhom-agentd doctor`,
		Flags: []cli.Flag{jsonFlag(), &cli.DurationFlag{Name: "timeout", Value: doctorLimit, Usage: "end each check after `TIME`"}},
		Action: func(c *cli.Context) error {
			if c.Duration("timeout") <= 0 {
				return misuse(c, errors.New("--timeout: want a time like 20s, more than 0"))
			}
			if err := command.RequireRoot("doctor"); err != nil {
				return err
			}
			return runDoctor(c.Context, c.String("config"), c.Duration("timeout"), c.Bool("json"), stdout)
		},
	}
}

func runDoctor(ctx context.Context, file string, limit time.Duration, asJSON bool, stdout io.Writer) (err error) {
	list, done := hostChecks(file)
	report := checks.Run(ctx, list, limit, nil)
	if !report.LeftBehind() { // else the end of the process closes it
		defer func() { err = errors.Join(err, done()) }()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return report.Print(stdout, asJSON)
}

// hostChecks returns the checks for the configuration in file.
func hostChecks(file string) (list []checks.Check, done func() error) {
	none := func() error { return nil }
	cfg, err := loadConfig(file)
	if err != nil {
		return doctor.Broken(err), none
	}
	o := doctor.Options{
		File: file, Config: cfg, Now: time.Now, Mounts: mountsOf(cfg), NetDir: "/sys/class/net", Clock: clockState,
		Health:     func(ctx context.Context) (api.Health, error) { return healthOf(ctx, cfg.HealthSocket) },
		Registries: func(ctx context.Context) error { _, err := checkAll(ctx, cfg, ""); return err },
		Secrets:    func() error { return secretFiles(cfg) },
		Firewall:   func(ctx context.Context) []checks.Finding { return firewallState(ctx, cfg) },
		Elsewhere:  elsewhereOf(cfg),
		Root: func(context.Context, int) (driver.IDs, error) {
			return driver.IDs{UID: cfg.IDMapBase, GID: cfg.IDMapBase}, nil
		},
	}
	if _, err := os.Stat(auditDir(cfg)); err == nil {
		o.Audit = func(ctx context.Context) error { return auditState(ctx, auditDir(cfg)) }
	}
	hypervisorChecks(cfg, &o)
	store, err := openStore(cfg)
	if o.StoreErr = err; store == nil {
		return doctor.Checks(o), none
	}
	o.Store, o.Rows = store, sourceFrom(cfg, store).Rows
	return doctor.Checks(o), store.Close
}

// openStore returns the store, or nil if this host has none yet: nothing is made.
func openStore(cfg config.Config) (*guests.Store, error) {
	reports := filepath.Join(cfg.StateDir, guests.ReportsDir)
	for _, dir := range []string{cfg.StateDir, cfg.StoreDir, reports} {
		_, err := os.Stat(dir)
		if dir == cfg.StateDir && errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if dir == reports && errors.Is(err, fs.ErrNotExist) {
			return nil, fault.WrapHint(fault.Failed, fmt.Errorf("the directory of the guests' reports was removed: %w", err),
				"systemctl restart felhom-agentd makes it again, and so does the next report of a guest; restore it from a backup for the reports before")
		}
		if err != nil {
			return nil, err
		}
	}
	return guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
}

// hypervisorChecks fills in what depends on the hypervisor.
func hypervisorChecks(cfg config.Config, o *doctor.Options) {
	if cfg.Hypervisor == "" {
		return
	}
	h, err := hypervisorOf(cfg)
	o.Hypervisor = func(ctx context.Context) error {
		if err != nil {
			return err
		}
		if node, ok := h.(interface{ CheckNode(context.Context) error }); ok {
			return node.CheckNode(ctx)
		}
		return nil
	}
	if cfg.Hypervisor == config.HypervisorPCT {
		o.Templates = func(ctx context.Context) []checks.Finding { return templateState(ctx, cfg) }
	}
	if cfg.Hypervisor == config.HypervisorPCT || lxc.NeedsSubIDs() {
		o.IDRanges = func() error { return lxc.CheckSubIDs("/etc/subuid", "/etc/subgid", cfg.IDMapBase, 1<<16) }
	}
	if err == nil {
		o.Root = provision.New(provision.Options{Hypervisor: h, HasHypervisor: true, Root: driver.IDs{UID: cfg.IDMapBase, GID: cfg.IDMapBase}}).MappedRoot
	}
}

// secretFiles reads the files with secrets that the configuration names, and
// shows nothing of them.
func secretFiles(cfg config.Config) error {
	var all []error
	for _, r := range cfg.AllRegistries() {
		if r.HasSecret() {
			_, err := provision.ReadSecret(provision.SecretFile(r))
			all = append(all, err)
		}
	}
	if cfg.EnvFile != "" {
		_, err := provision.ReadEnvFile(cfg.EnvFile)
		all = append(all, err)
	}
	return errors.Join(all...)
}

func auditState(ctx context.Context, dir string) error {
	report, err := audit.Verify(ctx, dir)
	if err != nil {
		return err
	}
	var all []error
	for _, f := range report.Findings {
		all = append(all, fault.WrapHint(fault.Mismatch, errors.New(f), "compare with a copy of the log; who could write "+dir+" is root here"))
	}
	return errors.Join(all...)
}

// clockState asks the kernel whether anything keeps its clock right.
func clockState() (isSynchronised bool, err error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, fmt.Errorf("adjtimex: %w", err)
	}
	return t.Status&unix.STA_UNSYNC == 0, nil
}
