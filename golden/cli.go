package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/typo"
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
// struct (checkArgs, misuse) and calls a function that does not know cli.
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
		versionCommand(std),
	}
}

func newApp(std stdio) *cli.App {
	app := &cli.App{
		Name:  program,
		Usage: "bake, verify, inspect and compare golden images for Proxmox VE LXC guests",
		Description: `A golden is a vzdump archive: "pct restore" makes guests of it. No Proxmox VE node is needed to bake one.

Exit codes: 0 done, 1 failed, 2 misuse, 3 input refused, 4 verification failed, 5 not ready (try again), 130 interrupted.`,
		Version:         version,
		HideHelpCommand: true,
		Reader:          std.in,
		Writer:          std.out,
		ErrWriter:       std.err,
		Commands:        commands(std),
		// The library's default exits the process from inside.
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   onUsageError,
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return misuse("no command given", "felhom-golden --help lists the commands")
			}
			return unknownCommand(c.App, c.Args().First())
		},
	}
	for _, cmd := range app.Commands {
		cmd.OnUsageError = onUsageError
		cmd.HideHelpCommand = true
	}
	return app
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	name := program
	if c.Command != nil && c.Command.Name != program {
		name += " " + c.Command.Name
	}
	return misuse(err.Error(), name+" --help shows the flags")
}

// misuse is the error for a wrong command line; hint says what would be right.
func misuse(message, hint string) error {
	return exit.WithHint(exit.Misuse, fmt.Errorf("%s", message), hint)
}

// checkArgs refuses a number of arguments other than that of names.
func checkArgs(c *cli.Context, names ...string) error {
	if c.NArg() == len(names) {
		return nil
	}
	want := strings.Join(names, " ")
	if want == "" {
		want = "no arguments"
	}
	return misuse(fmt.Sprintf("%s: want %s, found %d argument(s)", c.Command.Name, want, c.NArg()),
		fmt.Sprintf("%s %s --help", program, c.Command.Name))
}

func unknownCommand(app *cli.App, name string) error {
	var known []string
	for _, cmd := range app.Commands {
		known = append(known, cmd.Name)
	}
	hint := program + " --help lists the commands"
	if meant := typo.Closest(name, known); meant != "" {
		hint = fmt.Sprintf("did you mean %q?", meant)
	}
	return misuse(fmt.Sprintf("unknown command %q", name), hint)
}

// flagsFirst moves the flags of a command in front of its arguments, because
// the library stops looking for flags at the first argument. What follows "--"
// stays as it is: it belongs to the program that "run" starts.
func flagsFirst(app *cli.App, args []string) []string {
	at := slices.IndexFunc(args[min(1, len(args)):], func(a string) bool { return !strings.HasPrefix(a, "-") }) + 1
	if at == 0 || at >= len(args) {
		return args
	}
	cmd := app.Command(args[at])
	if cmd == nil {
		return args
	}
	flags, rest := []string{}, []string{}
	words := args[at+1:]
	for i := 0; i < len(words); i++ {
		switch w := words[i]; {
		case w == "--":
			rest = append(rest, words[i:]...)
			i = len(words)
		case len(w) < 2 || w[0] != '-':
			rest = append(rest, w)
		default:
			flags = append(flags, w)
			if !takesValue(cmd, w) {
				continue
			}
			if i++; i == len(words) {
				// Nothing may follow, or it would be taken for the value.
				return slices.Concat(args[:at+1], flags)
			}
			flags = append(flags, words[i])
		}
	}
	return slices.Concat(args[:at+1], flags, rest)
}

// takesValue says whether the word after flag is its value. An unknown flag
// takes none: the library refuses it by name afterwards.
func takesValue(cmd *cli.Command, flag string) bool {
	if strings.Contains(flag, "=") {
		return false
	}
	name := strings.TrimLeft(flag, "-")
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}
