package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/golden/internal/inspect"
)

type inspectOptions struct {
	archive string
	json    bool
	config  bool
	full    bool
}

func inspectCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show what is in an archive, without unpacking it",
		ArgsUsage: "ARCHIVE (- reads stdin)",
		Description: `System, configuration, images, sizes by directory, units and packages. It judges nothing; that is what verify does.

An archive that this program made has a table of contents, and inspect reads no more than that; --full reads all of the archive. Only verify
compares the table with the rest.

Exit codes: 0 done, 1 failed, 2 misuse, 3 archive refused.

Example:
    felhom-golden inspect --config vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print the report as JSON"},
			&cli.BoolFlag{Name: "full", Usage: "read the whole archive, not its table of contents"},
			&cli.BoolFlag{Name: "config", Usage: "print pct.conf as it is in the archive, and read no further"},
		},
		Action: func(c *cli.Context) error {
			o := inspectOptions{archive: c.Args().First(), json: c.Bool("json"), config: c.Bool("config"), full: c.Bool("full")}
			switch {
			case o.json && o.config:
				return misuse("inspect: both --json and --config given", "give one of the two")
			case o.full && o.config:
				return misuse("inspect: both --full and --config given", "give one of the two")
			}
			return inspectArchive(c.Context, std, o)
		},
	}
}

func inspectArchive(ctx context.Context, std stdio, o inspectOptions) (err error) {
	in, name, err := openArchive(ctx, std.in, o.archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	if o.config {
		conf, err := inspect.Config(ctx, boundMemory(in), name)
		if err != nil {
			return err
		}
		_, err = std.out.Write(conf)
		return err
	}
	report, err := inspectReport(ctx, in, name, o.full)
	if err != nil {
		return err
	}
	if o.json {
		return report.WriteJSON(std.out)
	}
	return report.WriteText(std.out)
}

// inspectReport makes the report of the archive's table of contents, and of the whole
// archive if it has none, if it is not a file, or if full is set.
func inspectReport(ctx context.Context, in io.Reader, name string, full bool) (inspect.Report, error) {
	if f, ok := in.(*os.File); ok && !full {
		info, err := f.Stat()
		if err != nil {
			return inspect.Report{}, err
		}
		report, err := inspect.Table(ctx, f, info.Size(), name)
		if !errors.Is(err, inspect.ErrNoTable) {
			return report, err
		}
	}
	return inspect.Archive(ctx, boundMemory(in), name, inspect.Options{})
}
