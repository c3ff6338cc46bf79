package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/golden/internal/seal"
	"github.com/felhom/felhom-golden/internal/command"
)

func sealCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "seal",
		Usage:     "remove from a staged root what must not leave the build machine",
		ArgsUsage: "[ROOT]",
		Description: `Works in place and may be repeated. "build" does it on its own.

Exit codes: 0 sealed, 2 misuse, 3 ROOT is not a root file system or has mounts below it.

Example:
    felhom-golden seal --skip ssh-access ./root`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "enable", Usage: "apply only this `RULE`; may be repeated"},
			&cli.StringSliceFlag{Name: "skip", Usage: "do not apply this `RULE`; may be repeated"},
			&cli.StringFlag{Name: "hostname", Value: seal.DefaultHostname, Usage: "`NAME` for /etc/hostname"},
			&cli.StringFlag{Name: "machine-id", Value: string(seal.MachineIDEmpty), Usage: "`CONTENT` of /etc/machine-id: empty, or uninitialized for a first boot with presets"},
			&cli.BoolFlag{Name: "list", Usage: "list the rules that seal applies"},
			&cli.StringFlag{Name: "explain", Usage: "explain one `RULE`"},
		},
		Action: func(c *cli.Context) error {
			if c.Bool("list") || c.IsSet("explain") {
				return showRules(std.out, c, seal.Sealable())
			}
			if c.NArg() == 0 {
				return command.MissingArgument(c, "ROOT")
			}
			epoch, err := sourceDateEpoch(os.Getenv("SOURCE_DATE_EPOCH"))
			if err != nil {
				return err
			}
			return sealRoot(c.Context, std, c.Args().First(), seal.Options{
				Enable: c.StringSlice("enable"), Skip: c.StringSlice("skip"), Epoch: epoch,
				Hostname: c.String("hostname"), MachineID: seal.MachineID(c.String("machine-id")),
			})
		},
	}
}

// sourceDateEpoch reads the variable of reproducible-builds.org; the zero time
// when it is not set.
func sourceDateEpoch(value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, misuse(fmt.Sprintf("SOURCE_DATE_EPOCH is %q", value), "want seconds since 1970, as date +%s prints them")
	}
	return time.Unix(n, 0).UTC(), nil
}

func sealRoot(ctx context.Context, std stdio, root string, opts seal.Options) error {
	report, err := seal.Apply(ctx, root, opts)
	if err != nil {
		return err
	}
	for _, c := range report.Changes {
		if _, err := fmt.Fprintf(std.out, "%s: %s %q\n", c.Rule, c.Action, c.Path); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(std.err, "%d rules, %d changes\n", len(report.Rules), len(report.Changes))
	return err
}
