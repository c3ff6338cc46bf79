package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/exit"
)

const defaultConfig = "/etc/felhom/agentd.yaml"

const description = `The configuration is read from /etc/felhom/agentd.yaml; docs/agentd.md has a full example.

Exit codes:
   0  done
   1  failed
   2  misuse: flags or arguments
   3  refused: configuration, specification, archive or guest; all findings were printed
   4  verification failed
   5  not ready: the bridge, a port, a lock or the guest; a later try may succeed
   130  interrupted

Example:
   felhom-agentd provision --vmid 8200 --hostname web`

func newApp(stdout, stderr io.Writer) *cli.App {
	return &cli.App{
		Name:            program,
		Usage:           "serve the local API to the guests of this host",
		Description:     description,
		HideVersion:     true,
		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       stderr,
		ExitErrHandler:  func(*cli.Context, error) {}, // run prints and exits, nobody else
		OnUsageError:    usageError,
		Flags: []cli.Flag{&cli.StringFlag{
			Name: "config", Value: defaultConfig, Usage: "read the configuration from `FILE`",
		}},
		Action: groupAction,
		Commands: []*cli.Command{
			{
				Name: "serve", Usage: "serve the local API until SIGTERM", HideHelpCommand: true, OnUsageError: usageError,
				Action: func(c *cli.Context) error {
					if err := wantArgs(c); err != nil {
						return err
					}
					cfg, err := loadConfig(c.String("config"))
					if err != nil {
						return err
					}
					return serve(c.Context, cfg, stderr)
				},
			},
			{
				Name: "guest", Usage: "add, attach, detach, remove and list guests", HideHelpCommand: true, OnUsageError: usageError, Action: groupAction,
				Subcommands: []*cli.Command{
					{
						Name: "add", Usage: "make a guest known and write its config mount; of a known one, replace the token", ArgsUsage: "VMID",
						HideHelpCommand: true, OnUsageError: usageError, Flags: []cli.Flag{jsonFlag()},
						Action: func(c *cli.Context) error { return guestAddCommand(c, stdout) },
					},
					guestAttachCommand(stdout),
					guestDetachCommand(stdout),
					guestRemoveCommand(stdout, stderr),
					{
						Name: "list", Usage: "show what the guests reported", HideHelpCommand: true, OnUsageError: usageError,
						Flags: []cli.Flag{jsonFlag()},
						Action: func(c *cli.Context) error {
							if err := wantArgs(c); err != nil {
								return err
							}
							cfg, err := loadConfig(c.String("config"))
							if err != nil {
								return err
							}
							return guestList(c.Context, cfg, c.Bool("json"), time.Now, stdout)
						},
					},
				},
			},
			provisionCommand(stdout, stderr),
			{
				Name: "pin", Usage: "print the pins of this host's certificates", HideHelpCommand: true, OnUsageError: usageError,
				Flags: []cli.Flag{jsonFlag()},
				Action: func(c *cli.Context) error {
					if err := wantArgs(c); err != nil {
						return err
					}
					cfg, err := loadConfig(c.String("config"))
					if err != nil {
						return err
					}
					return showPins(c.Context, cfg, c.Bool("json"), time.Now, stdout)
				},
			},
			{
				Name: "version", Usage: "print the version", HideHelpCommand: true, OnUsageError: usageError,
				Action: func(c *cli.Context) error {
					if err := wantArgs(c); err != nil {
						return err
					}
					_, err := fmt.Fprintln(stdout, program, version)
					return err
				},
			},
		},
	}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }

func guestAddCommand(c *cli.Context, stdout io.Writer) error {
	vmid, cfg, err := guestArgs(c)
	if err != nil {
		return err
	}
	return guestAdd(c.Context, cfg, vmid, c.Bool("json"), time.Now, stdout)
}

// guestArgs reads what every command on one guest is given.
func guestArgs(c *cli.Context) (vmid int, cfg config.Config, err error) {
	if err := wantArgs(c, "VMID"); err != nil {
		return 0, cfg, err
	}
	if vmid, err = token.ParseVMID(c.Args().First()); err != nil {
		return 0, cfg, misuse(c, err)
	}
	cfg, err = loadConfig(c.String("config"))
	return vmid, cfg, err
}

// groupAction is what runs when no command was recognised.
func groupAction(c *cli.Context) error {
	if c.NArg() == 0 {
		return misuse(c, errors.New("a command is missing"))
	}
	return misuse(c, fmt.Errorf("there is no command %q", c.Args().First()))
}

func usageError(c *cli.Context, err error, _ bool) error { return misuse(c, err) }

func misuse(c *cli.Context, err error) error {
	name := program
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != program {
		name = c.Command.HelpName
	}
	return exit.WithHint(exit.Misuse, err, name+" --help shows what there is")
}

// wantArgs refuses any other number of arguments than names. A flag behind an
// argument is one too: the library stops reading flags there.
func wantArgs(c *cli.Context, names ...string) error {
	switch args := c.Args().Slice(); {
	case len(args) < len(names):
		return misuse(c, fmt.Errorf("%s is missing", strings.Join(names[len(args):], " ")))
	case len(args) > len(names) && strings.HasPrefix(args[len(names)], "-"):
		return misuse(c, fmt.Errorf("write %q before the arguments", args[len(names)]))
	case len(args) > len(names):
		return misuse(c, fmt.Errorf("unexpected argument %q", args[len(names)]))
	}
	return nil
}

func loadConfig(file string) (config.Config, error) {
	data, err := readConfig(file)
	if errors.Is(err, fs.ErrNotExist) {
		return config.Config{}, exit.WithHint(exit.Refused, err, "write one (docs/agentd.md has a full example), or name it with --config")
	}
	if err != nil {
		return config.Config{}, exit.With(exit.Refused, err)
	}
	cfg, err := config.Parse(file, data)
	return cfg, exit.WithHint(exit.Refused, err, "docs/agentd.md describes every key")
}

// readConfig reads one byte more than Parse accepts, so that Parse says so.
func readConfig(file string) (_ []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, config.MaxBytes+1))
}

// requireRoot keeps a plain user from meeting a permission error halfway.
func requireRoot(_ context.Context, what string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return exit.WithHint(exit.Failed, fmt.Errorf("%s needs root", what), "run it with sudo or as root")
}
