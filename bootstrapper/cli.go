package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/bootstrapper/internal/bootstrap"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/fault"
)

const program = "felhom-controller-bootstrap"

const exitText = `Exit codes: 0 done; 1 failed; 2 misuse; 3 input refused; 4 verification failed;
5 not ready, a later run may succeed; 130 interrupted`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return int(newApp(stdout, stderr).Run(ctx, args))
}

func newApp(stdout, stderr io.Writer) command.App {
	return command.App{
		Name:        program,
		Usage:       "Turn the bootstrap.json of this guest's config mount into a running controller",
		Description: exitText,
		Version:     version,
		Stdout:      stdout,
		Stderr:      stderr,
		Flags:       []cli.Flag{rootFlag(), dockerHostFlag()},
		Commands:    []*cli.Command{applyCommand(stderr), validateCommand(stderr), statusCommand(stdout), doctorCommand(stdout)},
	}
}

// The global flags.
const (
	flagRoot       = "root"
	flagDockerHost = "docker-host"
)

func rootFlag() cli.Flag {
	return &cli.StringFlag{Name: flagRoot, DefaultText: "/", Usage: "directory that every path is under"}
}

func dockerHostFlag() cli.Flag {
	return &cli.StringFlag{Name: flagDockerHost, DefaultText: "unix://ROOT/run/docker.sock", Usage: "engine, unix://PATH"}
}

func rootOf(c *cli.Context) (string, error) {
	root := c.String(flagRoot)
	if root == "" {
		root = "/"
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return "", fault.Wrap(fault.Misuse, fmt.Errorf("--root: %w", err))
	}
	return abs, nil
}

func applyCommand(stderr io.Writer) *cli.Command {
	var o applyOptions
	return &cli.Command{
		Name:  "apply",
		Usage: "bring the controller up, or find that nothing has to be done",
		Description: `Safe to repeat: a second run changes nothing.

With --keep-trying, as the unit runs it: what may pass (exit code 5, or 1) is tried again
at growing intervals, and at once when the host changes something in the mount, until the
controller runs, only a changed mount can help (2, 3, 4), or the mount is removed.

Example:
    ` + program + ` apply

` + exitText,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "keep-trying", Usage: "run again until it succeeds or only a changed mount can help", Destination: &o.keepTrying},
			&cli.DurationFlag{
				Name: "host-patience", Value: 30 * time.Minute, Destination: &o.hostPatience,
				Usage: "with --keep-trying: how long a run that succeeded without the host is repeated to reach it",
			},
			&cli.DurationFlag{Name: "network-wait", Value: 30 * time.Second, Usage: "how long this guest may be without a network", Destination: &o.networkWait},
			&cli.DurationFlag{Name: "engine-wait", Value: 90 * time.Second, Usage: "how long to wait for the engine", Destination: &o.engineWait},
			&cli.DurationFlag{Name: "pull-patience", Value: 5 * time.Minute, Usage: "how long a pull may go without progress", Destination: &o.pullPatience},
			&cli.DurationFlag{Name: "ready-wait", DefaultText: "ready_wait of bootstrap.json, or what the image's health test gives, 2m or more", Usage: "how long the controller may take to become ready", Destination: &o.readyWait},
		},
		Action: func(c *cli.Context) (err error) {
			if o.root, err = rootOf(c); err != nil {
				return err
			}
			o.dockerHost = c.String(flagDockerHost)
			if c.IsSet("host-patience") && !o.keepTrying {
				return fault.WrapHint(fault.Misuse, errors.New("--host-patience without --keep-trying"), "add --keep-trying, or leave --host-patience out")
			}
			o.setReadyWait = c.IsSet("ready-wait")
			if err := checkApply(&o); err != nil {
				return err
			}
			return apply(c.Context, o, stderr)
		},
	}
}

type applyOptions struct {
	root, dockerHost                    string
	keepTrying, setReadyWait            bool
	hostPatience, networkWait           time.Duration
	engineWait, pullPatience, readyWait time.Duration
}

// checkApply checks o and sets the path of the engine's socket.
func checkApply(o *applyOptions) error {
	if o.dockerHost == "" {
		o.dockerHost = "unix://" + filepath.Join(o.root, bootstrap.EngineSocket)
	}
	if path, ok := strings.CutPrefix(o.dockerHost, "unix://"); !ok || !filepath.IsAbs(path) {
		return fault.WrapHint(fault.Misuse, fmt.Errorf("--docker-host is %q, want unix:// and an absolute path", o.dockerHost),
			"it must be the engine of this guest; its socket is usually unix:///run/docker.sock")
	}
	var wrong []error
	for _, f := range []struct {
		name  string
		value time.Duration
		unset bool // 0: another place sets it
	}{
		{"host-patience", o.hostPatience, false},
		{"network-wait", o.networkWait, false},
		{"engine-wait", o.engineWait, false},
		{"pull-patience", o.pullPatience, false},
		{"ready-wait", o.readyWait, !o.setReadyWait},
	} {
		if f.value <= 0 && !f.unset {
			wrong = append(wrong, fmt.Errorf("--%s is %s, want more than 0", f.name, f.value))
		}
	}
	return fault.WrapHint(fault.Misuse, errors.Join(wrong...), "write a duration such as 90s or 5m")
}

func validateCommand(stderr io.Writer) *cli.Command {
	return &cli.Command{
		Name:      "validate",
		Usage:     "check a bootstrap.json and print all findings to stderr",
		ArgsUsage: "[FILE]",
		Description: `Without FILE the one in the config mount.

Example:
    ` + program + ` validate bootstrap.json

` + exitText,
		Action: func(c *cli.Context) error {
			root, err := rootOf(c)
			if err != nil {
				return err
			}
			return validate(root, c.Args().First(), stderr)
		},
	}
}

func statusCommand(stdout io.Writer) *cli.Command {
	var o statusOptions
	return &cli.Command{
		Name:  "status",
		Usage: "show how the last run ended, and exit as it did",
		Description: `Exits with the code of the recorded run, and with 5 if no run is recorded yet.

Example:
    ` + program + ` status --wait --timeout 5m

` + exitText,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print the result file", Destination: &o.json},
			&cli.BoolFlag{Name: "console", Usage: "print one or two lines, as the console shows them", Destination: &o.console},
			&cli.BoolFlag{Name: "wait", Usage: "wait for the end of the current run, or of the first one", Destination: &o.wait},
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Minute, Usage: "with --wait: how long", Destination: &o.timeout},
		},
		Action: func(c *cli.Context) (err error) {
			if o.console && o.json {
				return fault.WrapHint(fault.Misuse, errors.New("--console with --json"), "choose one")
			}
			if c.IsSet("timeout") && !o.wait {
				return fault.WrapHint(fault.Misuse, errors.New("--timeout without --wait"), "add --wait, or leave --timeout out")
			}
			if o.timeout <= 0 {
				return fault.WrapHint(fault.Misuse, fmt.Errorf("--timeout is %s, want more than 0", o.timeout), "write a time such as 90s or 5m")
			}
			if o.root, err = rootOf(c); err != nil {
				return err
			}
			return status(c.Context, o, stdout)
		},
	}
}
