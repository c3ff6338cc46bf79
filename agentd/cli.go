package main

import (
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

const defaultConfig = "/etc/felhom/agentd.yaml"

const description = `The configuration is read from /etc/felhom/agentd.yaml; docs/agentd.md has a full example.

Exit codes:
   0  done
   1  failed
   2  misuse: flags or arguments
   3  refused: configuration, specification, archive or guest; all findings
      were printed
   4  verification failed
   5  not ready: the bridge, a port, a lock or the guest; try again later
   130  interrupted

Example:
   felhom-agentd provision --vmid 8200 --hostname web`

func newApp(stdout, stderr io.Writer) command.App {
	return command.App{
		Name:        program,
		Usage:       "Serve the local API to the guests of this host",
		Description: description,
		Version:     version,
		Stdout:      stdout,
		Stderr:      stderr,
		Flags: []cli.Flag{&cli.StringFlag{
			Name: "config", Value: defaultConfig, Usage: "read the configuration from `FILE`",
		}},
		Commands: []*cli.Command{
			{
				Name: "serve", Usage: "Serve the local API until SIGTERM",
				Action: func(c *cli.Context) error {
					cfg, err := loadConfig(c.String("config"))
					if err != nil {
						return err
					}
					return serve(c.Context, cfg, stderr)
				},
			},
			{
				Name: "guest", Usage: "Add, attach, detach, remove and list guests",
				Subcommands: []*cli.Command{
					{
						Name: "add", Usage: "Make a guest known and write its config mount; of a known one, replace the token", ArgsUsage: "VMID",
						Flags:  []cli.Flag{jsonFlag()},
						Action: func(c *cli.Context) error { return guestAddCommand(c, stdout) },
					},
					guestAttachCommand(stdout),
					guestDetachCommand(stdout),
					guestRemoveCommand(stdout, stderr),
					{
						Name: "list", Usage: "Show what the guests reported",
						Flags: []cli.Flag{jsonFlag()},
						Action: func(c *cli.Context) error {
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
				Name: "pin", Usage: "Print the pins of this host's certificates",
				Flags: []cli.Flag{jsonFlag()},
				Action: func(c *cli.Context) error {
					cfg, err := loadConfig(c.String("config"))
					if err != nil {
						return err
					}
					return showPins(c.Context, cfg, c.Bool("json"), time.Now, stdout)
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
	if vmid, err = token.ParseVMID(c.Args().First()); err != nil {
		return 0, cfg, misuse(c, err)
	}
	cfg, err = loadConfig(c.String("config"))
	return vmid, cfg, err
}

func misuse(c *cli.Context, err error) error { return command.Misuse(c, err, "") }

func loadConfig(file string) (config.Config, error) {
	data, err := readConfig(file)
	if errors.Is(err, fs.ErrNotExist) {
		return config.Config{}, fault.WrapHint(fault.Invalid, err, "write one (docs/agentd.md has a full example), or name it with --config")
	}
	if err != nil {
		return config.Config{}, fault.Wrap(fault.Invalid, err)
	}
	cfg, err := config.Parse(file, data)
	return cfg, fault.WrapHint(fault.Invalid, err, "docs/agentd.md describes every key")
}

// readConfig reads one byte more than Parse accepts, so that Parse says so.
func readConfig(file string) (_ []byte, err error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, config.MaxBytes+1))
}
