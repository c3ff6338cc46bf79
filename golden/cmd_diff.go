package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/golden/internal/diff"
	"github.com/felhom/felhom-golden/golden/internal/inspect"
	"github.com/felhom/felhom-golden/internal/fault"
)

type diffOptions struct {
	a, b string
	json bool
}

func diffCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare two archives by meaning",
		ArgsUsage: "A B (- reads stdin)",
		Description: `Packages by version, units by state, pct.conf by value, files by type, mode, owner, size, content, link and attributes. Times and order do not count.

Exit codes: 0 same, 1 they differ (or failed: then nothing is on stdout), 2 misuse, 3 archive refused.

Example:
    felhom-golden diff old.tar.zst new.tar.zst`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print the differences as JSON"}},
		Action: func(c *cli.Context) error {
			o := diffOptions{a: c.Args().Get(0), b: c.Args().Get(1), json: c.Bool("json")}
			if o.a == "-" && o.b == "-" {
				return misuse("diff: stdin given twice", "name a file for one of the two")
			}
			return diffArchives(c.Context, std, o)
		},
	}
}

// diffArchives prints the differences to stdout, where they are the product,
// and returns an error when there are any: the status is that of diff(1).
func diffArchives(ctx context.Context, std stdio, o diffOptions) error {
	a, err := readForDiff(ctx, std, o.a)
	if err != nil {
		return err
	}
	b, err := readForDiff(ctx, std, o.b)
	if err != nil {
		return err
	}
	report := diff.Compare(a, b)
	if o.json {
		err = report.WriteJSON(std.out)
	} else {
		err = report.WriteText(std.out)
	}
	if err != nil || report.Same {
		return err
	}
	return fault.Errorf(fault.Failed, "diff: the archives differ: %d package(s), %d unit(s), %d setting(s), %d difference(s) of files",
		len(report.Packages), len(report.Units), len(report.Config), len(report.Files))
}

func readForDiff(ctx context.Context, std stdio, name string) (_ inspect.Report, err error) {
	in, name, err := openArchive(ctx, std.in, name)
	if err != nil {
		// Status 1 says that archives differ, so it must not say this.
		return inspect.Report{}, fault.WrapHint(fault.Misuse, fmt.Errorf("diff: %w", err), fault.HintOf(err))
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	return inspect.Archive(ctx, boundMemory(in), name, inspect.Options{Files: true})
}
