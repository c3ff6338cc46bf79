package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/fault"
)

// stdio is what a command may read and write: out is the product, err is talk.
// A command that fails has written nothing to out.
type stdio struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// commands lists every command, in the order of the work. A constructor
// declares flags into an options struct of its own; its Action checks that
// struct (misuse) and calls a function that does not know cli.
// Never set Required on a flag: the library then prints usage to stdout.
func commands(std stdio) []*cli.Command {
	return []*cli.Command{
		buildCommand(std),
		stageCommand(std),
		packCommand(std),
		runCommand(std),
		serveCommand(std),
		sealCommand(std),
		verifyCommand(std),
		inspectCommand(std),
		diffCommand(std),
		unpackCommand(std),
	}
}

func newApp(std stdio) command.App {
	return command.App{
		Name:  program,
		Usage: "Bake, verify, inspect and compare golden images for Proxmox VE LXC guests",
		Description: `A golden image is a vzdump archive: "pct restore" makes guests from it. No Proxmox VE node is needed to bake one.

Exit codes: 0 done, 1 failed, 2 misuse, 3 input refused, 4 verification failed, 5 not ready (try again), 130 interrupted.`,
		Version:  version,
		Commands: commands(std),
		Stdin:    std.in,
		Stdout:   std.out,
		Stderr:   std.err,
	}
}

// misuse is the error for a wrong command line; hint says what would be right.
func misuse(message, hint string) error {
	return fault.WrapHint(fault.Misuse, fmt.Errorf("%s", message), hint)
}
