package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/driver"
	"github.com/felhom/felhom-golden/internal/fault"
)

// changeLimit bounds a mount or its end; PVE may wait for the guest's lock.
const changeLimit = 2 * time.Minute

func guestAttachCommand(stdout io.Writer) *cli.Command {
	return mountCommand("attach", "mount a known guest's config folder, at once where the guest runs", stdout, guestAttach)
}

func guestDetachCommand(stdout io.Writer) *cli.Command {
	return mountCommand("detach", "take the config mount out of a guest; its folder stays", stdout, guestDetach)
}

func mountCommand(name, usage string, stdout io.Writer, work func(context.Context, config.Config, int, io.Writer) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "VMID",
		Description: "Example:\n   felhom-agentd guest " + name + " 8200",
		Action: func(c *cli.Context) error {
			vmid, cfg, err := guestArgs(c)
			if err != nil {
				return err
			}
			if err := command.RequireRoot("guest " + name); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, changeLimit)
			defer cancel()
			return work(ctx, cfg, vmid, stdout)
		},
	}
}

// guestAttach is for guests that the host knows: an empty folder would be
// mounted for any other.
func guestAttach(ctx context.Context, cfg config.Config, vmid int, stdout io.Writer) (err error) {
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if _, err := store.Get(vmid); err != nil {
		return fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d: %w", vmid, err), fmt.Sprintf("felhom-agentd guest add %d first", vmid))
	}
	unlock, err := provision.Claim(cfg.StateDir, vmid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	h, err := hypervisorOf(cfg)
	if err != nil {
		return err
	}
	source := mountsOf(cfg).Path(vmid)
	if err := h.Attach(ctx, vmid, driver.Mount{Source: source, Target: configmount.Target, ReadOnly: true}); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "guest %d has %s mounted at %s\n", vmid, source, configmount.Target)
	return err
}

// guestDetach takes away our mount and nobody else's.
func guestDetach(ctx context.Context, cfg config.Config, vmid int, stdout io.Writer) (err error) {
	unlock, err := provision.Claim(cfg.StateDir, vmid)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	h, err := hypervisorOf(cfg)
	if err != nil {
		return err
	}
	g, err := h.Guest(ctx, vmid)
	if err != nil {
		return err
	}
	source := mountsOf(cfg).Path(vmid)
	for _, m := range g.Mounts {
		if m.Target == configmount.Target && m.Source != source {
			return fault.WrapHint(fault.Invalid, fmt.Errorf("guest %d has %s mounted at %s, and not %s", vmid, m.Source, m.Target, source),
				"that mount is somebody else's; take it away by the hypervisor's own tools")
		}
	}
	if err := h.Detach(ctx, vmid, configmount.Target); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "guest %d has nothing of ours mounted\n", vmid)
	return err
}
