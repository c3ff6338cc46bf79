package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/driver/directory"
	"github.com/felhom/felhom-golden/internal/driver/lxc"
	"github.com/felhom/felhom-golden/internal/driver/pct"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

const defaultConfig = "/etc/felhom/agentd.yaml"

// reportPoll is how often provision looks for what guests reported.
const reportPoll = 100 * time.Millisecond

// guestArgs reads the arguments of every command on one guest.
func guestArgs(c *cli.Context) (vmid int, cfg config.Config, err error) {
	if vmid, err = token.ParseVMID(c.Args().First()); err != nil {
		return 0, cfg, misuse(c, err)
	}
	cfg, err = loadConfig(c.String("config"))
	return vmid, cfg, err
}

func misuse(c *cli.Context, err error) error { return command.Misuse(c, err, "") }

func loadConfig(file string) (config.Config, error) {
	data, err := readConfig(file)
	if errors.Is(err, fs.ErrNotExist) {
		return config.Config{}, fault.WrapHint(fault.Invalid, err, "write one (docs/agentd.md has a full example), or name it with --config")
	}
	if err != nil {
		return config.Config{}, fault.WrapHint(fault.Invalid, err, "name a regular file that root can read with --config")
	}
	cfg, err := config.Parse(file, data)
	if err == nil && cfg.HostID == "" {
		cfg.HostID, err = hostID()
	}
	return cfg, fault.WrapHint(fault.Invalid, err, "docs/agentd.md describes every key")
}

// hostID returns the host's name, which is what host_id is by default.
func hostID() (string, error) {
	name, err := os.Hostname()
	if err == nil {
		err = config.CheckHostID(name)
	}
	if err != nil {
		return "", fmt.Errorf("host_id: this host's name is not usable; set host_id: %w", err)
	}
	return name, nil
}

// readConfig reads one byte more than Parse accepts, so that Parse reports the
// limit.
func readConfig(file string) (_ []byte, err error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, config.MaxBytes+1))
}

// hypervisorOf returns the driver of the configuration.
func hypervisorOf(cfg config.Config) (driver.Hypervisor, error) {
	if cfg.Hypervisor == config.HypervisorLXC {
		return lxc.New(lxc.Options{Path: cfg.LXCPath, Storage: directory.New(cfg.LXCPath), PerGuest: cfg.IDMap == config.IDMapPerGuest, MountDir: cfg.MountsDir}), nil
	}
	return pct.New(pct.Options{MountDir: cfg.MountsDir})
}

// storageOf returns what measures guests for the local API, without starting a
// program.
func storageOf(cfg config.Config) driver.Storage {
	if cfg.StorageDir != "" { // of liblxc always
		return directory.New(cfg.StorageDir)
	}
	return pct.NewMeter(pct.Options{})
}

func mountsOf(cfg config.Config) configmount.Dir {
	owner := configmount.OwnerHost
	if cfg.MountOwner == config.MountOwnerGuest {
		owner = configmount.OwnerGuest
	}
	return configmount.New(cfg.MountsDir, owner)
}

// provisionerOf returns the Provisioner of the configuration for commands that
// write no bootstrap.json. done closes its store.
func provisionerOf(cfg config.Config, stderr io.Writer) (p *provision.Provisioner, done func() error, err error) {
	o, done, err := provisionOptions(cfg, newTeller(stderr))
	if err != nil {
		return nil, nil, err
	}
	sweepAudit(cfg)
	return provision.New(o), done, nil
}

// writerOf is provisionerOf for commands that write bootstrap.json: they need to
// know where the local API is, and its certificates.
func writerOf(ctx context.Context, cfg config.Config, stderr io.Writer) (p *provision.Provisioner, done func() error, err error) {
	h, err := openHost(ctx, cfg, time.Now)
	if err != nil {
		return nil, nil, err
	}
	o, done, err := provisionOptions(cfg, newTeller(stderr))
	if err != nil {
		return nil, nil, err
	}
	sweepAudit(cfg)
	h.announce(cfg, &o)
	return provision.New(o), done, nil
}

func provisionOptions(cfg config.Config, observer provision.Observer) (o provision.Options, done func() error, err error) {
	h, err := hypervisorOf(cfg)
	if err != nil {
		return o, nil, err
	}
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	if err != nil {
		return o, nil, err
	}
	store.Observe(auditChanges(cfg))
	return provision.Options{
		Hypervisor: h, HasHypervisor: cfg.Hypervisor != "", Root: driver.IDs{UID: cfg.IDMapBase, GID: cfg.IDMapBase},
		Store: store, Mounts: mountsOf(cfg), StateDir: cfg.StateDir, Overlap: cfg.Limits.TokenOverlap, ExpireAfter: cfg.Tokens.ExpireAfter,
		Observer: observer, Now: time.Now, Poll: reportPoll,
		BridgeAddresses: listener.InterfaceAddresses, Resolver: resolverOf(cfg), IsElsewhere: elsewhereOf(cfg),
		Clone: provision.CloneMode(cfg.Provision.Clone), TemplateVMIDs: provision.Range(cfg.Provision.TemplateVMIDs), Golden: cfg.Provision.Golden,
	}, store.Close, nil
}

// elsewhereOf returns what reports whether another node that has the same store
// has a guest; nil if the store is this node's alone.
func elsewhereOf(cfg config.Config) func(vmid int) bool {
	if cfg.Hypervisor == config.HypervisorLXC || !strings.HasPrefix(cfg.StoreDir, pct.DefaultDir+"/") {
		return nil
	}
	return func(vmid int) bool { return pct.IsElsewhere(pct.DefaultDir, vmid) }
}

// resolverOf returns the resolv.conf that a guest without name servers gets: on
// PVE, the host's.
func resolverOf(cfg config.Config) string {
	if cfg.Hypervisor == config.HypervisorLXC {
		return ""
	}
	return "/etc/resolv.conf"
}
