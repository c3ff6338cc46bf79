package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/felhom/felhom-golden/golden/internal/enter"
	"github.com/felhom/felhom-golden/internal/exit"
)

type runOptions struct {
	root     string
	argv     []string
	env      []string
	dir      string
	offline  bool
	cleanEnv bool
}

func runCommand(std stdio) *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run a script inside a staged root",
		ArgsUsage: "ROOT -- SCRIPT [ARG...]",
		Description: `SCRIPT is a file of this machine; it is handed in and is never part of the root. A name without a slash, and a path
that does not exist here, is a program of the root.

It runs as root in mounts, processes and a host name of its own, with /proc, /sys (read-only), a minimal /dev, and empty /run
and /tmp. No package that it installs starts a service. Whatever ends it, it leaves no mount, process or file behind.

The environment is passed on, but for what says who and where you are (HOME, PATH, LANG, TMPDIR, SSH_*, SUDO_* and the like);
--clean-env passes only --env. Unless --offline is given, this machine's network and name servers can be used.

Exit codes: the script's own, 128+n when signal n ended it; 2 misuse, 3 ROOT or SCRIPT refused, 1 could not start, 130 interrupted.

Example:
    felhom-golden run /var/tmp/root -- ./scripts/10-motd.sh`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "env", Usage: "set a variable for the script, `NAME=VALUE`; may be repeated"},
			&cli.StringFlag{Name: "dir", Value: "/", Usage: "`DIRECTORY` of the root to start in"},
			&cli.BoolFlag{Name: "offline", Usage: "give the script no network but a loopback of its own"},
			&cli.BoolFlag{Name: "clean-env", Usage: "pass nothing of this environment on"},
		},
		Action: func(c *cli.Context) error {
			opts, err := newRunOptions(c)
			if err != nil {
				return err
			}
			return runInRoot(c.Context, opts, std)
		},
	}
}

func newRunOptions(c *cli.Context) (runOptions, error) {
	args := c.Args().Slice()
	opts := runOptions{
		root: args[0], argv: args[1:],
		env: c.StringSlice("env"), dir: c.String("dir"), offline: c.Bool("offline"), cleanEnv: c.Bool("clean-env"),
	}
	for _, kv := range opts.env {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" {
			return runOptions{}, misuse(fmt.Sprintf("run: --env %s: want NAME=VALUE", name), "")
		}
	}
	if !strings.HasPrefix(opts.dir, "/") {
		return runOptions{}, misuse(fmt.Sprintf("run: --dir %s: want an absolute path inside ROOT", opts.dir), "")
	}
	return opts, nil
}

// runInRoot does the work of "run". Its error carries the script's status as
// exit code.
func runInRoot(ctx context.Context, opts runOptions, std stdio) error {
	env := enter.BaseEnv()
	if !opts.cleanEnv {
		env = enter.MergeEnv(env, enter.FromCaller(os.Environ())...)
	}
	in := enter.Options{
		Root: opts.root, Env: enter.MergeEnv(env, opts.env...), Dir: opts.dir,
		Stdin: std.in, Stdout: std.out, Stderr: std.err, Network: !opts.offline,
	}
	var code int
	var err error
	if isScript(opts.argv[0]) {
		in.Argv = opts.argv[1:]
		code, err = enter.Script(ctx, in, opts.argv[0])
	} else {
		in.Argv = opts.argv
		code, err = enter.Run(ctx, in)
	}
	if err != nil || code == 0 {
		return err
	}
	return exit.WithCode(exit.Code(code), fmt.Errorf("%s ended with status %d in %s", opts.argv[0], code, opts.root))
}

// isScript reports whether name is a file of this machine.
func isScript(name string) bool {
	if !strings.Contains(name, "/") {
		return false
	}
	_, err := os.Stat(name)
	return !errors.Is(err, os.ErrNotExist)
}
