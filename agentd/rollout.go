package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/agentd/internal/rollout"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

func guestRolloutCommand(stdout, stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name: "rollout", Usage: "Have many guests run another image, some at a time",
		Description: `Changes the guests in waves. A wave starts when all guests of the one before are
up; more failures than --max-failures end it. A guest whose new controller is not
ready puts back the one before by itself. Stopped guests are not started.

A rollout that was stopped, interrupted or killed continues with --resume, which
tries the guests that failed again.

Example:
   felhom-agentd guest rollout --image registry.example/app:1.1 --all --wave 5`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "image", Usage: "the image to run: a full `REFERENCE`"}, digestFlag(),
			&cli.StringSliceFlag{Name: "guests", Usage: "`VMIDS` with commas between them; may be repeated"},
			&cli.BoolFlag{Name: "all", Usage: "all guests that have a token"},
			&cli.IntFlag{Name: "wave", Value: 1, Usage: "change this `NUMBER` of guests at a time"},
			&cli.IntFlag{Name: "max-failures", Usage: "continue beside this `NUMBER` of failed guests"},
			&cli.DurationFlag{Name: "wait", Usage: "how long to wait for the guests of a wave", DefaultText: "provision.wait, 5m"},
			&cli.BoolFlag{Name: "resume", Usage: "continue the rollout that has not ended"},
			&cli.BoolFlag{Name: "abandon", Usage: "forget the rollout that has not ended; guests stay as they are"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			o, err := rolloutFlags(c)
			if err != nil {
				return misuse(c, err)
			}
			cfg, err := loadConfig(c.String("config"))
			if err != nil {
				return err
			}
			return guestRollout(c.Context, cfg, o, stdout, stderr)
		},
	}
}

type rolloutArgs struct {
	plan            rollout.Plan
	wait            *time.Duration // nil: the configuration's
	all             bool
	resume, abandon bool
	asJSON          bool
}

// rolloutFlags reads the flags, and finds all that is wrong with them.
func rolloutFlags(c *cli.Context) (o rolloutArgs, err error) {
	o = rolloutArgs{all: c.Bool("all"), resume: c.Bool("resume"), abandon: c.Bool("abandon"), asJSON: c.Bool("json")}
	if o.resume || o.abandon {
		for _, flag := range []string{"image", "digest", "guests", "all", "wave", "max-failures", "wait"} {
			if c.IsSet(flag) {
				err = errors.Join(err, fmt.Errorf("--%s: a rollout that has not ended keeps its own", flag))
			}
		}
		if o.resume && o.abandon {
			err = errors.Join(err, errors.New("--resume together with --abandon: choose one"))
		}
		return o, err
	}
	var all []error
	o.plan = rollout.Plan{Wave: c.Int("wave"), MaxFailures: c.Int("max-failures")}
	if !c.IsSet("image") {
		all = append(all, errors.New("--image is missing, or --resume"))
	} else if o.plan.Image, err = imageArg(c.String("image"), c.String("digest")); err != nil {
		all = append(all, fmt.Errorf("--%w", err))
	}
	for _, text := range strings.Split(strings.Join(c.StringSlice("guests"), ","), ",") {
		vmid, err := token.ParseVMID(strings.TrimSpace(text))
		if c.IsSet("guests") && err != nil {
			all = append(all, fmt.Errorf("--guests: %w", err))
		}
		o.plan.Guests = append(o.plan.Guests, vmid)
	}
	if o.all == c.IsSet("guests") {
		all = append(all, errors.New("want --guests, or --all"))
	}
	slices.Sort(o.plan.Guests)
	o.plan.Guests = slices.Compact(o.plan.Guests)
	if o.plan.Wave < 1 {
		all = append(all, fmt.Errorf("--wave is %d, want 1 or more", o.plan.Wave))
	}
	if o.plan.MaxFailures < 0 {
		all = append(all, fmt.Errorf("--max-failures is %d, want 0 or more", o.plan.MaxFailures))
	}
	if wait := c.Duration("wait"); c.IsSet("wait") {
		if o.wait = &wait; wait <= 0 {
			all = append(all, fmt.Errorf("--wait is %v, want more than 0s: a wave starts when the one before is up", wait))
		}
	}
	return o, errors.Join(all...)
}

func guestRollout(ctx context.Context, cfg config.Config, o rolloutArgs, stdout, stderr io.Writer) (err error) {
	if err := command.RequireRoot("guest rollout"); err != nil {
		return err
	}
	if o.abandon {
		status, err := rollout.New(rollout.Options{StateDir: cfg.StateDir}).Abandon(ctx)
		if err != nil {
			return err
		}
		return printRollout(stdout, status, o.asJSON)
	}
	if !o.resume {
		if err := o.complete(cfg); err != nil {
			return err
		}
		if err := o.check(ctx, cfg); err != nil {
			return err
		}
	} else if err := checkServing(ctx, cfg); err != nil {
		return err
	}
	p, done, err := writerOf(ctx, cfg, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	r := rollout.New(rollout.Options{StateDir: cfg.StateDir, Provisioner: p, Now: time.Now, WaveEnded: func(s rollout.Status) {
		_, _ = fmt.Fprintf(stderr, "rollout: %d healthy, %d written, %d failed, %d left\n", s.Healthy, s.Written, s.Failed, s.Left) // as the lines of the steps
	}})
	var status rollout.Status
	if o.resume {
		status, err = r.Resume(ctx)
	} else {
		status, err = r.Begin(ctx, o.plan)
	}
	if len(status.Guests) == 0 {
		return err
	}
	return errors.Join(err, printRollout(stdout, status, o.asJSON))
}

// complete adds what the configuration and the store say.
func (o *rolloutArgs) complete(cfg config.Config) (err error) {
	o.plan.Wait = cfg.Provision.Wait
	if o.plan.Wait == 0 {
		o.plan.Wait = config.DefaultWait
	}
	if o.wait != nil {
		o.plan.Wait = *o.wait
	}
	if !o.all {
		return nil
	}
	o.plan.Guests, err = guestsWithTokens(cfg)
	if err == nil && len(o.plan.Guests) == 0 {
		err = fault.WrapHint(fault.NotFound, errors.New("there is no guest with a token"), "felhom-agentd guest list shows the guests")
	}
	return err
}

// check finds what would make the change of any guest fail, before the first.
func (o *rolloutArgs) check(ctx context.Context, cfg config.Config) error {
	args := provisionArgs{change: true}
	for _, vmid := range o.plan.Guests {
		args.guests = append(args.guests, config.Guest{VMID: vmid, Asked: config.Asked{Image: o.plan.Image}})
	}
	jobs, found := jobsOf(cfg, args)
	found.add("", checkServing(ctx, cfg))
	_, err := found.look(ctx, cfg, args, jobs, silent{})
	return err
}

// printRollout prints what became of each guest, also if some failed.
func printRollout(stdout io.Writer, s rollout.Status, asJSON bool) error {
	if asJSON {
		return printJSON(stdout, s)
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VMID\tSTATE\tTOOK\tMESSAGE")
	for _, g := range s.Guests {
		took := "-"
		if g.Seconds > 0 {
			took = fmt.Sprintf("%.1fs", g.Seconds)
		}
		message := termtext.Line(g.Message, 200)
		if message == "" {
			message = "-"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\n", g.VMID, g.State, took, message)
	}
	return table.Flush()
}

var _ rollout.Provisioner = (*provision.Provisioner)(nil)
