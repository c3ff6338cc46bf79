package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/command"
)

func guestRemoveCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "take back all that there is of a guest: itself where provision made it, mount, token, reports", ArgsUsage: "VMID",
		Description: `A guest that provision did not make stays; only its mount and token go. A running one is refused without --force.

Example:
   felhom-agentd guest remove --force 8200`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "force", Usage: "shut a running guest down first; its disks are removed"}, jsonFlag()},
		Action: func(c *cli.Context) error {
			vmid, cfg, err := guestArgs(c)
			if err != nil {
				return err
			}
			return guestRemove(c.Context, cfg, vmid, c.Bool("force"), c.Bool("json"), stdout, stderr)
		},
	}
}

func guestRemove(ctx context.Context, cfg config.Config, vmid int, force, asJSON bool, stdout, stderr io.Writer) (err error) {
	if err := command.RequireRoot("guest remove"); err != nil {
		return err
	}
	hypervisor, err := hypervisorOf(cfg)
	if err != nil {
		return err
	}
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	p := provision.Options{
		Hypervisor: hypervisor, Store: store, Mounts: mountsOf(cfg), StateDir: cfg.StateDir,
		Observer: newTeller(stderr), Now: time.Now,
	}
	removed, err := p.Remove(ctx, vmid, force)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(stdout, struct {
			Guest       int  `json:"guest"`
			GuestItself bool `json:"guest_removed"`
		}{vmid, removed.Guest})
	}
	text := "guest %d removed: itself with its disks, its mount, its token\n"
	if !removed.Guest {
		text = "guest %d removed: its mount and its token; there is no guest that provision made\n"
	}
	_, err = fmt.Fprintf(stdout, text, vmid)
	return err
}
