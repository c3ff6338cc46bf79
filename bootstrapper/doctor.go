package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/bootstrapper/internal/bootstrap"
	"github.com/felhom/felhom-golden/internal/checks"
	"github.com/felhom/felhom-golden/internal/driver/docker"
	"github.com/felhom/felhom-golden/internal/fault"
)

func doctorCommand(stdout io.Writer) *cli.Command {
	var asJSON bool
	var limit time.Duration
	return &cli.Command{
		Name:  "doctor",
		Usage: "find what is wrong in this guest, and say what to do",
		Description: `Checks mount, parse, channel, engine, registry, disk and clock, and changes nothing. All
run, also if one hangs. The list goes to stdout whatever was found; 0 if nothing failed.

Example:
    ` + program + ` doctor

` + exitText,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print JSON", Destination: &asJSON},
			&cli.DurationFlag{Name: "timeout", Value: 20 * time.Second, Usage: "end each check after this time", Destination: &limit},
		},
		Action: func(c *cli.Context) error {
			root, err := rootOf(c)
			if err != nil {
				return err
			}
			o := applyOptions{root: root, dockerHost: c.String(flagDockerHost), networkWait: 1, engineWait: 1, pullPatience: 1, hostPatience: 1}
			if err := checkApply(&o); err != nil {
				return err
			}
			if limit <= 0 {
				return fault.WrapHint(fault.Misuse, errors.New("--timeout is not more than 0"), "write a time such as 20s")
			}
			return runDoctor(c.Context, o, limit, asJSON, stdout)
		},
	}
}

func runDoctor(ctx context.Context, o applyOptions, limit time.Duration, asJSON bool, stdout io.Writer) (err error) {
	engine, err := docker.New(o.dockerHost)
	if err != nil {
		return fault.Wrap(fault.Misuse, err)
	}
	list, hide := bootstrap.Doctor(bootstrap.Options{
		Root: o.root, Socket: strings.TrimPrefix(o.dockerHost, "unix://"), EngineUnit: engineUnit(o),
	}, engine)
	report := checks.Run(ctx, list, limit, hide)
	if !report.LeftBehind() {
		defer func() { err = errors.Join(err, engine.Close()) }()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return report.Print(stdout, asJSON)
}
