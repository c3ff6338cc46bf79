// Command demo shows the whole on real parts, on one machine, for a reader who
// has never seen it: a registry that wants a password, the host's daemon, a
// guest's bootstrapper, and the controller that comes of it. It says what it
// does, runs the product's own binaries as an operator would, checks what comes
// out, and takes everything down. It exits 0 only when every check held.
//
// The guest is a real one: an unprivileged LXC container, restored from a golden image
// that is baked before your eyes, or from the cache of the last time. With
// --local it is a directory, and its Docker Engine the test bed's: quicker, and
// for machines where no container can run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/fault"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := start(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func start(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	local := flags.Bool("local", false, "without a guest: the bootstrapper in a directory, on an engine of this machine")
	keep := flags.Bool("keep", false, "leave everything up until Enter or Ctrl-C")
	dist := flags.String("dist", "dist", "`directory` of the binaries (make build)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return int(exit.OK)
		}
		return int(exit.Misuse)
	}
	if flags.NArg() > 0 {
		return int(exit.Print(stderr, "demo", fault.Errorf(fault.Misuse, "unexpected argument %q", flags.Arg(0))))
	}
	d := &demo{stdout: stdout, stderr: stderr, dist: *dist}
	if *keep {
		d.keep = stdin
	}
	show := d.showGuest
	if *local {
		show = d.showLocal
	}
	err := show(ctx)
	if err == nil {
		_, err = fmt.Fprintf(stdout, "\nAll %d checks held.\n", d.checks)
	}
	return int(exit.Print(stderr, "demo", err))
}

// demo is one run of the demo.
type demo struct {
	stdout, stderr io.Writer
	dist           string
	keep           io.Reader // nil: do not wait at the end

	bed     *testbed.Running
	dir     string // everything of the demo is in it
	heading int
	checks  int
	failed  []string
}

const (
	vmid  = "8200"
	other = "8201" // a second guest, with a token that is not the first one's
)

// onBed runs the parts of a demo on a test bed and takes everything down,
// whatever happens.
func (d *demo) onBed(ctx context.Context, o testbed.Options, require []string, parts func(context.Context) error) (err error) {
	for _, name := range []string{"felhom-agentd", "felhom-golden", "felhom-controller-bootstrap"} {
		if _, err := os.Stat(filepath.Join(d.dist, name)); err != nil {
			return fault.WrapHint(fault.NotReady, err, "make build")
		}
	}
	if err := testbed.Require(ctx, d.stdout, require...); err != nil {
		return err
	}
	o.Log, o.Images = d.stdout, []string{"v1"}
	d.bed, err = testbed.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		d.head("Taking everything down")
		bridge, dir := d.bed.Bridge, d.bed.Dir
		closeErr := d.bed.Close()
		if closeErr != nil {
			closeErr = fmt.Errorf("take down: %w", closeErr)
		}
		_, bridgeErr := net.InterfaceByName(bridge)
		_, dirErr := os.Stat(dir)
		d.check(closeErr == nil && bridgeErr != nil && errors.Is(dirErr, fs.ErrNotExist),
			"nothing is left: no process, no bridge, no container, no file (packages that were installed stay)")
		err = errors.Join(err, closeErr)
		if len(d.failed) > 0 {
			err = errors.Join(err, fmt.Errorf("%d of %d checks failed: %s", len(d.failed), d.checks, join(d.failed)))
		}
	}()
	d.dir = filepath.Join(d.bed.Dir, "demo")
	if err := os.Mkdir(d.dir, 0o711); err != nil { // a guest's root, an ordinary user here, passes through it
		return err
	}
	return parts(ctx)
}

// showLocal is the demo without a guest.
func (d *demo) showLocal(ctx context.Context) error {
	d.head("Real parts: a bridge, a Docker Engine, a registry")
	return d.onBed(ctx, testbed.Options{}, []string{"curl"}, d.local)
}

func (d *demo) local(ctx context.Context) (err error) {
	d.head("The host: felhom-agentd")
	host, err := d.startHost(ctx, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Stop()) }()

	d.head("The guest's config mount")
	if err := d.addGuests(ctx, host); err != nil {
		return err
	}
	d.head("In the guest: felhom-controller-bootstrap")
	defer func() { err = errors.Join(err, d.removeController()) }()
	if err := d.bootstrap(ctx, host); err != nil {
		return err
	}
	d.head("The channel's acceptance table, by curl")
	if err := d.table(ctx, host, nil); err != nil {
		return err
	}
	d.head("The controller")
	before, err := d.controller(ctx)
	if err != nil {
		return err
	}
	d.head("Once more: nothing to change")
	if err := d.again(ctx, host, before); err != nil {
		return err
	}
	d.head("What the host knows now")
	if err := d.known(ctx, host, strings.TrimPrefix(d.bed.DockerHost, "unix://")); err != nil {
		return err
	}
	return d.wait(ctx, "export DOCKER_HOST="+d.bed.DockerHost+"\ncurl http://"+d.bed.Address+":8080/")
}
