// Package command is the command line of the three programs: it reads flags and
// arguments, prints help, and refuses mistakes. Describe a program as an [App]
// and call [App.Run].
//
// The CLI library parses values and calls the action. This package does what
// the library does not do in the same way everywhere: flags after arguments,
// global flags after the command, help within 80 columns, and one sentence for
// each mistake.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/fault"
)

// App describes one program. The commands "help" and "version" and the flags
// --help and --version come with it.
type App struct {
	Name        string
	Usage       string // what the program does: a phrase that starts with a verb
	Description string // paragraphs; a line that starts with a space is printed as it is
	Version     string
	Flags       []cli.Flag     // global flags: accepted before and after the command
	Commands    []*cli.Command // ArgsUsage gives the arguments of each, in the form "ROOT [ARG...]"
	Stdin       io.Reader      // may be nil
	Stdout      io.Writer      // the product
	Stderr      io.Writer      // errors
}

// Run runs the command that args name; args[0] is the program's. It prints an
// error, at most one, to Stderr and returns the exit code of
// docs/exit-codes.md. If ctx is done and its error reaches Run, the code is
// that of an interrupt.
func (a App) Run(ctx context.Context, args []string) exit.Code {
	err := a.run(ctx, args)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = fault.Wrap(fault.Interrupted, err)
	}
	return exit.Print(a.Stderr, a.Name, err)
}

func (a App) run(ctx context.Context, args []string) error {
	root := &cli.Command{Name: a.Name, Usage: a.Usage, Description: a.Description, Subcommands: a.commands()}
	line, err := parse(a.Flags, root, args[min(1, len(args)):])
	switch {
	case line.help && !line.isUnknown:
		return a.printHelp(line.path)
	case err != nil:
		return err
	case line.version:
		return a.printVersion()
	}
	app := &cli.App{
		Name: a.Name, HideHelp: true, HideVersion: true, HideHelpCommand: true,
		Reader: a.Stdin, Writer: a.Stdout, ErrWriter: a.Stderr,
		Flags: a.Flags, Commands: root.Subcommands,
		ExitErrHandler:            func(*cli.Context, error) {}, // the library's own exits the process
		DisableSliceFlagSeparator: true,                         // a value may contain commas; a flag is repeated instead
		OnUsageError:              usageError,
	}
	prepare(root.Subcommands)
	return app.RunContext(ctx, line.words(a.Name))
}

// commands returns the program's commands with those that every program has.
func (a App) commands() []*cli.Command {
	version := &cli.Command{
		Name: "version", Usage: "Print version, Go version and platform",
		Action: func(*cli.Context) error { return a.printVersion() },
	}
	return append(append([]*cli.Command{}, a.Commands...), version)
}

// prepare has the library leave help and exits to this package.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.HideHelp, c.HideHelpCommand, c.OnUsageError = true, true, usageError
		prepare(c.Subcommands)
	}
}

func (a App) printVersion() error {
	_, err := fmt.Fprintf(a.Stdout, "%s %s %s %s/%s\n", a.Name, a.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// usageError gives its kind to what the library refuses after [parse] has
// accepted it.
func usageError(c *cli.Context, err error, _ bool) error { return Misuse(c, err, "") }

// Misuse returns err as a wrong use of c's command. An empty hint points to
// the command's help.
func Misuse(c *cli.Context, err error, hint string) error {
	name := c.App.Name
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	if hint == "" {
		hint = "see " + name + " --help"
	}
	return fault.WrapHint(fault.Misuse, err, hint)
}

// MissingArgument returns the error for an argument of c that is optional in
// general and needed here.
func MissingArgument(c *cli.Context, name string) error {
	return Misuse(c, errors.New(missing(name)), "")
}

func missing(name string) string { return "missing argument " + name }

// RequireRoot returns an error unless the process runs as root. what names the
// command that needs it.
func RequireRoot(what string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return fault.WrapHint(fault.Failed, fmt.Errorf("%s must run as root", what), "run it with sudo, or as root")
}
