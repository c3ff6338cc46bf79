package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/golden/internal/sshd"
	runner "github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/fault"
)

// passwordEnv is where "serve" finds the password of the sessions.
const passwordEnv = "FELHOM_GOLDEN_PASSWORD"

type serveOptions struct {
	root     string
	port     int
	watchPID int
	password string
	offline  bool
	command  []string
}

func serveCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "serve",
		Usage:     "offer SSH and SFTP into a staged root, on the loopback address",
		ArgsUsage: "ROOT [-- COMMAND [ARG...]]",
		Description: `Sessions run inside ROOT as with "run"; /tmp is in memory and shared by them. SFTP cannot leave ROOT. Any user name will
do; the password is taken from the variable ` + passwordEnv + `. The host key is made again each time.

With COMMAND, which makes ROOT, the port is opened first and the server goes to the background; sessions wait until COMMAND has
ended. When it fails, they are refused, and its status is passed on. The server ends with the process --watch-pid. Without
COMMAND it serves in the foreground until interrupted.

Exit codes: COMMAND's own; 2 misuse, 5 the port is taken, 1 could not start, 130 interrupted.

Example:
    FELHOM_GOLDEN_PASSWORD=... felhom-golden serve /var/tmp/root \
        --watch-pid 4711 -- felhom-golden stage /var/tmp/root`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "port", Value: 2222, Usage: "`PORT` on 127.0.0.1"},
			&cli.IntFlag{Name: "watch-pid", Usage: "end when process `PID` does; needed with COMMAND"},
			&cli.BoolFlag{Name: "offline", Usage: "give the sessions no network but a loopback of their own"},
		},
		Action: func(c *cli.Context) error {
			opts, err := newServeOptions(c)
			if err != nil {
				return err
			}
			return serveRoot(c.Context, opts, std)
		},
	}
}

func newServeOptions(c *cli.Context) (serveOptions, error) {
	opts := serveOptions{port: c.Int("port"), watchPID: c.Int("watch-pid"), offline: c.Bool("offline"), password: os.Getenv(passwordEnv)}
	args := c.Args().Slice()
	switch {
	case opts.port < 1 || opts.port > 65535:
		return opts, misuse(fmt.Sprintf("serve: --port %d: want 1 to 65535", opts.port), "")
	case opts.password == "":
		return opts, misuse("serve: no password: "+passwordEnv+" is empty", "set it in the environment, to a random word; it is never an argument, which everyone can read")
	case len(args) > 1 && opts.watchPID <= 0:
		return opts, misuse("serve: with COMMAND, --watch-pid is needed", "give the process id of the tool that the server is for: without it the server would stay for ever")
	}
	root, err := filepath.Abs(args[0])
	if err != nil {
		return opts, misuse(fmt.Sprintf("serve: %s: %v", args[0], err), "")
	}
	opts.root = root
	if len(args) > 1 {
		opts.command = args[1:]
	}
	if opts.watchPID <= 0 {
		opts.watchPID = os.Getpid() // killed or not, the server ends with us
	}
	return opts, nil
}

// serveRoot does the work of "serve". The port is bound before anything else: a
// server left over from another run would answer with another password, and
// clients would try it until they give up.
func serveRoot(ctx context.Context, opts serveOptions, std stdio) (err error) {
	l, err := sshd.Listen(ctx, opts.port)
	if err != nil {
		return fault.WrapHint(fault.NotReady, err, "another build may be running: wait for it, or choose another --port")
	}
	defer func() { _ = l.Close() }() // the server has its own descriptor
	cfg := sshd.Config{
		Root: opts.root, Password: sha256.Sum256([]byte(opts.password)), WatchPID: opts.watchPID,
		Env: enter.BaseEnv(), Network: !opts.offline,
	}
	if v, ok := os.LookupEnv("SOURCE_DATE_EPOCH"); ok {
		cfg.Env = append(cfg.Env, "SOURCE_DATE_EPOCH="+v)
	}
	if opts.command == nil {
		d, err := sshd.Start(cfg, l, os.Stderr)
		if err != nil {
			return err
		}
		if err := d.Staged(true); err != nil {
			return err
		}
		fmt.Fprintf(std.err, "%s: serving %s on %s\n", program, opts.root, l.Addr())
		return d.Wait(ctx)
	}
	d, err := sshd.Start(cfg, l, nil)
	if err != nil {
		return err
	}
	res, err := runner.Run(ctx, runner.Cmd{
		Path: opts.command[0], Args: opts.command[1:], Env: withoutPassword(os.Environ()),
		Stdin: std.in, Stdout: std.out, Stderr: std.err,
	})
	if serr := d.Staged(err == nil); serr != nil && err == nil {
		return serr
	}
	if err != nil && res.ExitCode > 0 && ctx.Err() == nil {
		return exit.WithCode(exit.Code(res.ExitCode), fmt.Errorf("%s ended with status %d: sessions are refused",
			runner.Quote(opts.command[0], opts.command[1:]...), res.ExitCode))
	}
	if err != nil {
		return err
	}
	return d.Release()
}

func withoutPassword(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, kv := range env {
		if !strings.HasPrefix(kv, passwordEnv+"=") {
			kept = append(kept, kv)
		}
	}
	return kept
}
