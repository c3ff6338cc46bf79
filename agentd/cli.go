package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/internal/command"
)

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
				Flags: logFlags(),
				Action: func(c *cli.Context) error {
					o, err := readLogFlags(c)
					if err != nil {
						return err
					}
					cfg, err := loadConfig(c.String("config"))
					if err != nil {
						return err
					}
					return serve(c.Context, cfg, o, stderr)
				},
			},
			{
				Name: "guest", Usage: "Add, change, attach, detach, remove, list and show guests; rotate and revoke tokens",
				Subcommands: []*cli.Command{
					guestAddCommand(stdout, stderr),
					guestRotateCommand(stdout, stderr),
					guestRevokeCommand(stdout, stderr),
					guestSetCommand(stdout, stderr),
					guestSetImageCommand(stdout, stderr),
					guestRolloutCommand(stdout, stderr),
					guestAttachCommand(stdout, stderr),
					guestDetachCommand(stdout, stderr),
					guestRemoveCommand(stdout, stderr),
					guestListCommand(stdout),
					guestShowCommand(stdout, stderr),
				},
			},
			provisionCommand(stdout, stderr),
			templateCommand(stdout, stderr),
			checkCommand(stdout, stderr),
			configCommand(stdout),
			doctorCommand(stdout),
			registryCommand(stdout, stderr),
			cacheCommand(stdout),
			firewallCommand(stdout),
			auditCommand(stdout),
			metricsCommand(stdout),
			pinCommand(stdout, stderr),
		},
	}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }
