package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/golden/internal/build"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/progress"
)

type packOptions struct {
	root   string
	target build.Target
}

func packCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "pack",
		Usage:     "seal a staged root and make its archive",
		ArgsUsage: "ROOT [ARCHIVE]",
		Description: `ROOT was made by stage, and may have been changed by run, serve or by hand since. It is sealed in place. ARCHIVE is the file to
write; without it the name is made of VMID and time, in the working directory. The archive appears once it has passed verify.

Exit codes: 0 done, 1 failed, 2 misuse, 3 image refused, 130 interrupted.

Example:
    felhom-golden pack /var/tmp/root`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "force", Usage: "replace an existing archive"}},
		Action: func(c *cli.Context) error {
			o := packOptions{root: filepath.Clean(c.Args().First()), target: build.Target{Dir: ".", Path: c.Args().Get(1), Force: c.Bool("force")}}
			if err := command.RequireRoot("pack"); err != nil {
				return err
			}
			return packRoot(c.Context, o, std)
		},
	}
}

func packRoot(ctx context.Context, o packOptions, std stdio) error {
	p := progress.New(std.err, progress.Options{Terminal: isTerminal(std.err)})
	res, err := build.Pack(ctx, o.root, o.target, build.Settings{Progress: p, Builder: version})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, res.Path)
	return err
}
