package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/configmount"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/command"
)

// attachedGuest is what guest attach prints.
type attachedGuest struct {
	Guest   int    `json:"guest"`
	Mount   string `json:"mount"`
	Target  string `json:"target"`
	Renewed bool   `json:"token_renewed,omitempty"`
	Started bool   `json:"started,omitempty"`
}

func guestAttachCommand(stdout, stderr io.Writer) *cli.Command {
	const about = "A guest that was detached with --for gets a new token, which ends all others, and is started if it ran before.\n\nExample:\n   felhom-agentd guest attach 8200"
	return guestCommand("attach", "mount a known guest's config directory, at once if the guest runs", about, stderr, nil,
		func(c *cli.Context, cfg config.Config, p *provision.Provisioner, vmid int) error {
			isDetached, err := p.IsDetached(vmid)
			if err != nil {
				return err
			}
			got := provision.Resumed{}
			if isDetached {
				got, err = resume(c.Context, cfg, vmid, stderr)
			} else {
				got.Source, err = p.Attach(c.Context, vmid)
			}
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(stdout, attachedGuest{vmid, got.Source, configmount.Target, got.Renewed, got.Started})
			}
			text := fmt.Sprintf("guest %d has %s mounted at %s", vmid, got.Source, configmount.Target)
			if got.Renewed {
				text += ", with a new token; all others have ended"
			}
			if got.Started {
				text += "; it was started"
			}
			_, err = fmt.Fprintln(stdout, text)
			return err
		})
}

// resume attaches a guest that was detached with --for: it gets a new token, for
// which the local API's address and certificates are needed.
func resume(ctx context.Context, cfg config.Config, vmid int, stderr io.Writer) (got provision.Resumed, err error) {
	p, done, err := writerOf(ctx, cfg, stderr)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, done()) }()
	return p.Resume(ctx, vmid)
}

// detachedGuest is what guest detach prints.
type detachedGuest struct {
	Guest  int    `json:"guest"`
	Target string `json:"target"`
	For    string `json:"for,omitempty"`
}

func guestDetachCommand(stdout, stderr io.Writer) *cli.Command {
	purposes := strings.Join(provision.Purposes(), ", ")
	flags := []cli.Flag{&cli.StringFlag{Name: "for", Usage: "shut the guest down first, for a `PURPOSE` that PVE refuses with the mount: " + purposes}}
	const about = "With --for the guest is shut down first; guest attach starts it again, with a new token.\n\nExample:\n   felhom-agentd guest detach --for snapshot 8200"
	return guestCommand("detach", "end the config mount in a guest; its directory stays", about, stderr, flags,
		func(c *cli.Context, _ config.Config, p *provision.Provisioner, vmid int) (err error) {
			purpose, isFor := c.String("for"), c.IsSet("for")
			switch {
			case isFor && !slices.Contains(provision.Purposes(), purpose):
				return misuse(c, fmt.Errorf("--for %q: want one of %s", purpose, purposes))
			case isFor:
				err = p.DetachFor(c.Context, vmid, purpose)
			default:
				err = p.Detach(c.Context, vmid)
			}
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return printJSON(stdout, detachedGuest{vmid, configmount.Target, purpose})
			}
			text := fmt.Sprintf("guest %d has no config mount\n", vmid)
			if isFor {
				text = fmt.Sprintf("guest %d is stopped and has no config mount\n  afterwards  felhom-agentd guest attach %d\n", vmid, vmid)
			}
			_, err = io.WriteString(stdout, text)
			return err
		})
}

func guestCommand(name, usage, about string, stderr io.Writer, flags []cli.Flag, work func(c *cli.Context, cfg config.Config, p *provision.Provisioner, vmid int) error) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "VMID",
		Description: about,
		Flags:       append(flags, jsonFlag()),
		Action: func(c *cli.Context) (err error) {
			vmid, cfg, err := guestArgs(c)
			if err != nil {
				return err
			}
			if err := command.RequireRoot("guest " + name); err != nil {
				return err
			}
			p, done, err := provisionerOf(cfg, stderr)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, done()) }()
			return work(c, cfg, p, vmid)
		},
	}
}
