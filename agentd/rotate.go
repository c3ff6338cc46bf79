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
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/command"
)

func guestRotateCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "rotate", Usage: "Give known guests new tokens; no request fails meanwhile", ArgsUsage: "[VMID...]",
		Description: `The token in use stays valid until the new one is first used, at most for
limits.token_overlap. With --all, guests whose tokens were revoked stay
without one.

Example:
   felhom-agentd guest rotate 8200 8201`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "rotate the tokens of all guests"}, jsonFlag()},
		Action: func(c *cli.Context) error {
			var vmids []int
			for _, arg := range c.Args().Slice() {
				vmid, err := token.ParseVMID(arg)
				if err != nil {
					return misuse(c, err)
				}
				vmids = append(vmids, vmid)
			}
			if c.Bool("all") == (len(vmids) > 0) {
				return misuse(c, errors.New("want VMIDs, or --all"))
			}
			cfg, err := loadConfig(c.String("config"))
			if err != nil {
				return err
			}
			return guestRotate(c.Context, cfg, vmids, c.Bool("json"), stdout, stderr)
		},
	}
}

// guestRotate rotates the tokens of the guests, of all if vmids is empty. It
// continues after a guest that fails.
func guestRotate(ctx context.Context, cfg config.Config, vmids []int, asJSON bool, stdout, stderr io.Writer) (err error) {
	if err := command.RequireRoot("guest rotate"); err != nil {
		return err
	}
	var all []error
	if len(vmids) == 0 {
		vmids, err = guestsWithTokens(cfg)
		all = append(all, err) // a damaged record does not keep the others from being rotated
	}
	p, done, err := writerOf(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	out := []added{}
	for _, vmid := range vmids {
		r, err := p.Rotate(ctx, vmid)
		if err != nil {
			all = append(all, fmt.Errorf("rotate token of guest %d: %w", vmid, err))
			continue
		}
		out = append(out, rotatedOf(vmid, r))
	}
	return errors.Join(append(all, printRotated(stdout, out, asJSON))...)
}

func printRotated(stdout io.Writer, rows []added, asJSON bool) error {
	if asJSON {
		return printJSON(stdout, rows)
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(stdout, "guest %d has a new token; %s\n", row.Guest, row.before()); err != nil {
			return err
		}
	}
	return nil
}

// guestsWithTokens returns the known guests without those of other nodes, and
// without those whose tokens were revoked.
func guestsWithTokens(cfg config.Config) (vmids []int, err error) {
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	records, broken, err := store.List()
	isElsewhere := elsewhereOf(cfg)
	for _, r := range records {
		if !r.IsRevoked() && (isElsewhere == nil || !isElsewhere(r.VMID)) {
			vmids = append(vmids, r.VMID)
		}
	}
	for _, damaged := range broken {
		err = errors.Join(err, damaged)
	}
	return vmids, err
}

func guestRevokeCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "revoke", Usage: "End all tokens of a guest at once", ArgsUsage: "VMID",
		Description: `The guest stays known and keeps running; the local API refuses it until guest
rotate gives it a new token. Each use of a revoked token is in the audit log.

Example:
   felhom-agentd guest revoke 8200`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			vmid, cfg, err := guestArgs(c)
			if err != nil {
				return err
			}
			return guestRevoke(c.Context, cfg, vmid, c.Bool("json"), stdout, stderr)
		},
	}
}

// revokedGuest is what guest revoke prints.
type revokedGuest struct {
	Guest  int `json:"guest"`
	Tokens int `json:"tokens_revoked"`
}

func guestRevoke(ctx context.Context, cfg config.Config, vmid int, asJSON bool, stdout, stderr io.Writer) (err error) {
	if err := command.RequireRoot("guest revoke"); err != nil {
		return err
	}
	p, done, err := provisionerOf(cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	ended, err := p.Revoke(ctx, vmid)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(stdout, revokedGuest{vmid, ended})
	}
	_, err = fmt.Fprintf(stdout, "guest %d has no token any more (%d revoked); felhom-agentd guest rotate %d gives it a new one\n", vmid, ended, vmid)
	return err
}
