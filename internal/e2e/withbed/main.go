// Command withbed makes a test bed, runs a command with the bed named in its
// environment, and takes the bed down again. Its exit status is the command's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/fault"
)

const usage = `usage: go run ./internal/e2e/withbed [FLAGS] -- COMMAND [ARGUMENTS]

Makes a test bed (a bridge, a Docker Engine, a registry with TLS and a password,
the sample controller's images), runs COMMAND with FELHOM_TEST_* in its
environment, and takes everything down. Needs root.

  go run ./internal/e2e/withbed -- go test -tags integration ./internal/e2e/testbed
  go run ./internal/e2e/withbed -- bash      (look around; env | grep FELHOM_TEST)

`

// grace is how long the command has to end after SIGTERM.
const grace = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

type options struct {
	bed     testbed.Options
	require []string
	command []string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var images, require string
	flags := flag.NewFlagSet("withbed", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { _, _ = fmt.Fprint(stderr, usage); flags.PrintDefaults() }
	flags.BoolVar(&o.bed.OwnEngine, "own-engine", false, "start an engine also where one runs")
	flags.StringVar(&o.bed.EngineConfig, "engine-config", "", "`JSON` of the daemon.json of an engine that is started (default {})")
	flags.StringVar(&images, "images", "", "`tags` of the sample images to push, with commas between (default all)")
	flags.StringVar(&require, "require", "", "further `commands` that must be installed, with commas between")
	if err := flags.Parse(args); err != nil {
		return o, fault.Wrap(fault.Misuse, err)
	}
	o.command = flags.Args()
	if len(o.command) == 0 {
		return o, fault.WrapHint(fault.Misuse, errors.New("no command"), "go run ./internal/e2e/withbed -- COMMAND")
	}
	o.bed.Images, o.require = list(images), list(require)
	o.bed.Log = stderr
	return o, nil
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return int(exit.OK)
	}
	var code int
	if err == nil {
		code, err = work(ctx, o)
	}
	if err != nil {
		if failed := int(exit.Print(stderr, "withbed", err)); code == 0 {
			code = failed
		}
	}
	return code
}

// work returns the command's status, and an error for all that is not its own.
func work(ctx context.Context, o options) (code int, err error) {
	if err := testbed.Require(ctx, o.bed.Log, o.require...); err != nil {
		return 0, err
	}
	bed, err := testbed.Start(ctx, o.bed)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	return command(ctx, o.command, bed.Environ())
}

// command runs the command to its end. At a terminal a Ctrl-C reaches it
// without us; otherwise it has its own process group, which gets SIGTERM when
// ctx is done.
func command(ctx context.Context, argv, env []string) (int, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	atTerminal := term.IsTerminal(int(os.Stdin.Fd()))
	// A killed withbed takes the command along. The kernel looks at the thread
	// that started the child, so this one stays until the child has ended.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !atTerminal, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error {
		if atTerminal {
			return cmd.Process.Signal(syscall.SIGTERM)
		}
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	cmd.WaitDelay = grace
	err := cmd.Run()
	if !atTerminal && cmd.Process != nil {
		// What the command left running would hold on to the bed.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if ctx.Err() != nil {
		return int(exit.Interrupted), nil
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil // as a shell says it
		}
		return ended.ExitCode(), nil
	}
	return 0, err
}
