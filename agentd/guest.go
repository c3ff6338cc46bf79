package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/command"
)

type added struct {
	Guest    int        `json:"guest"`
	Outcome  string     `json:"outcome"` // added, rotated
	Mount    string     `json:"mount"`
	Endpoint string     `json:"endpoint"`
	Revoked  bool       `json:"was_revoked,omitempty"` // and is trusted again
	Overlap  *time.Time `json:"previous_token_valid_until,omitempty"`
}

func rotatedOf(vmid int, r provision.Registered) added {
	return added{Guest: vmid, Outcome: "rotated", Mount: r.Mount, Endpoint: r.Endpoint, Revoked: r.Revoked, Overlap: r.Overlap}
}

// before says what became of the token that the guest had.
func (a added) before() string {
	switch {
	case a.Revoked:
		return "its tokens had been revoked: with this one it is trusted again"
	case a.Overlap != nil:
		return "the one in use stays valid until the new one is first used, at most until " + a.Overlap.Format(time.RFC3339)
	}
	return "it had none"
}

func guestAddCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "Make a guest known and write its config mount; of a known one, replace the token", ArgsUsage: "VMID",
		Description: `A guest whose tokens were revoked is trusted again: it gets a new token, and
the output says so.

Example:
   felhom-agentd guest add 8200`,
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			vmid, cfg, err := guestArgs(c)
			if err != nil {
				return err
			}
			return guestAdd(c.Context, cfg, vmid, c.Bool("json"), stdout, stderr)
		},
	}
}

// guestAdd prints nothing secret.
func guestAdd(ctx context.Context, cfg config.Config, vmid int, asJSON bool, stdout, stderr io.Writer) (err error) {
	if err := command.RequireRoot("guest add"); err != nil {
		return err
	}
	p, done, err := writerOf(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	r, err := p.Register(ctx, vmid)
	if err != nil {
		return err
	}
	out := rotatedOf(vmid, r)
	if r.IsNew {
		out.Outcome = "added"
	}
	if asJSON {
		return printJSON(stdout, out)
	}
	return printAdded(stdout, out, cfg.Hypervisor)
}

func printAdded(stdout io.Writer, a added, hypervisor string) error {
	var b strings.Builder
	if a.Outcome == "added" {
		fmt.Fprintf(&b, "guest %d added\n", a.Guest)
	} else {
		fmt.Fprintf(&b, "guest %d was there: it has a new token; %s\n", a.Guest, a.before())
	}
	attach := fmt.Sprintf("pct set %d -mp0 %s,mp=%s,ro=1,replicate=0", a.Guest, a.Mount, configmount.Target)
	if hypervisor != "" {
		attach = fmt.Sprintf("felhom-agentd guest attach %d", a.Guest)
	}
	fmt.Fprintf(&b, "  endpoint  %s\n  mount     %s\n  attach    %s\n", a.Endpoint, a.Mount, attach)
	_, err := io.WriteString(stdout, b.String())
	return err
}

func guestRemoveCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "remove all that was made for a guest: itself if provision made it, mount, token, reports", ArgsUsage: "VMID",
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

// removedGuest is what guest remove prints.
type removedGuest struct {
	Guest       int  `json:"guest"`
	GuestItself bool `json:"guest_removed"`
}

func guestRemove(ctx context.Context, cfg config.Config, vmid int, force, asJSON bool, stdout, stderr io.Writer) (err error) {
	if err := command.RequireRoot("guest remove"); err != nil {
		return err
	}
	p, done, err := provisionerOf(cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	removed, err := p.Remove(ctx, vmid, force)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(stdout, removedGuest{vmid, removed.Guest})
	}
	text := "guest %d removed: itself with its disks, its mount, its token\n"
	if !removed.Guest {
		text = "guest %d removed: its mount and its token; there is no guest that provision made\n"
	}
	_, err = fmt.Fprintf(stdout, text, vmid)
	return err
}
