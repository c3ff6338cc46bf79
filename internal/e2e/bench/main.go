// Command bench measures the bootstrapper against the shell script of the
// spike and against the bare API calls, on the same engine, image and registry,
// and the image maker against mmdebstrap, debootstrap, tar and zstd, on the same
// packages and files, and provisioning against tar and lxc-start; each in one
// run, interleaved; and the local API against nginx; and, only if it is asked for, a fleet of many daemons. It prints tables in Markdown: docs/benchmarks.md holds one
// such run. It judges nothing: times depend on the machine, so it exits 0
// whatever they are.
//
// It runs on a test bed, golden images alone without:
//
//	go run ./internal/e2e/withbed -- go run ./internal/e2e/bench
//	go run ./internal/e2e/bench -only golden
//	go run ./internal/e2e/bench -only api
//	go run ./internal/e2e/bench -only fleet
//	go run ./internal/e2e/withbed -- go run ./internal/e2e/bench -only faults
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/host"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
	"github.com/felhom/felhom-golden/internal/exit"
	"github.com/felhom/felhom-golden/internal/fault"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := start(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

type options struct {
	rounds int
	dist   string
	image  string
	only   string
	before string
	builds int
	guests int
	nodes  int
	each   int
	window time.Duration
}

// part is a part of the benchmark that can run alone.
type part struct {
	name    string
	measure func(ctx context.Context, o options, stdout, stderr io.Writer) error
	isExtra bool // it runs only if it is asked for
}

func parts() []part {
	return []part{
		{name: "bootstrapper", measure: bench},
		{name: "guest", measure: benchGuest},
		{name: "golden", measure: benchGolden},
		{name: "api", measure: benchAPI},
		{name: "fleet", measure: benchFleet, isExtra: true},
		{name: "faults", measure: benchFaults, isExtra: true},
	}
}

func start(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	known := strings.Join(names, ", ")
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.rounds, "rounds", 11, "how often each case is run; the table has medians")
	flags.StringVar(&o.dist, "dist", "dist", "`directory` of the binaries (make build)")
	flags.StringVar(&o.image, "image", "v1", "`tag` of the sample image")
	flags.StringVar(&o.only, "only", "", "`part` to measure alone: "+known+"; golden, api and fleet need no test bed, fleet and faults run by their names alone")
	flags.StringVar(&o.before, "before", "", "another felhom-controller-bootstrap, a `file`, to measure in turn with that of -dist; cold runs and the spike are left out")
	flags.IntVar(&o.builds, "builds", 3, "how often golden images are built from nothing and packed as a release, which take minutes")
	flags.IntVar(&o.guests, "guests", 1000, "how many simulated guests boot at once on the local API")
	flags.IntVar(&o.nodes, "nodes", 100, "how many daemons the fleet has")
	flags.IntVar(&o.each, "guests-of-node", 50, "how many simulated guests each daemon of the fleet has")
	flags.DurationVar(&o.window, "window", time.Minute, "`time` in which all guests of the fleet boot")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return int(exit.OK)
	}
	switch {
	case err != nil:
		return int(exit.Misuse)
	case flags.NArg() > 0:
		err = fault.Errorf(fault.Misuse, "unexpected argument %q", flags.Arg(0))
	case o.rounds < 1 || o.builds < 1 || o.guests < 2:
		err = fault.Errorf(fault.Misuse, "-rounds %d, -builds %d and -guests %d, want at least 1, 1 and 2", o.rounds, o.builds, o.guests)
	case o.window < time.Second || o.window > 10*time.Minute:
		err = fault.Errorf(fault.Misuse, "-window %v, want 1s to 10m", o.window)
	case o.nodes < 1 || o.nodes > maxNodes || o.each < 1 || o.each > maxGuestsOfNode:
		err = fault.Errorf(fault.Misuse, "-nodes %d and -guests-of-node %d, want 1 to %d and 1 to %d", o.nodes, o.each, maxNodes, maxGuestsOfNode)
	case o.only != "" && !slices.Contains(names, o.only):
		err = fault.Errorf(fault.Misuse, "-only %q, want one of %s", o.only, known)
	}
	for _, p := range parts() {
		if err == nil && (o.only == p.name || o.only == "" && !p.isExtra) {
			err = p.measure(ctx, o, stdout, stderr)
		}
	}
	return int(exit.Print(stderr, "bench", err))
}

func bench(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	bed, err := testbed.Find()
	if err != nil {
		return fault.Wrap(fault.NotReady, err)
	}
	if err := testbed.Require(ctx, stderr, "docker", "jq"); err != nil {
		return err
	}
	for _, name := range []string{"felhom-agentd", "felhom-controller-bootstrap"} {
		if _, err := os.Stat(filepath.Join(o.dist, name)); err != nil {
			return fault.WrapHint(fault.NotReady, err, "make build")
		}
	}
	dir := filepath.Join(bed.Dir, "bench")
	// A real guest does not run several times in a minute. With the daemon's own limit the last rounds wait for it.
	settings := host.Settings{Binary: filepath.Join(o.dist, "felhom-agentd"), Dir: dir, Image: o.image, Reports: 60000}
	daemon, err := host.Start(ctx, bed, settings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, daemon.Stop(), os.RemoveAll(dir)) }()
	b, err := prepare(ctx, bed, o, settings, daemon)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.clear(context.WithoutCancel(ctx), true)); b.engine.Close() }()

	samples := samples{}
	for round := range o.rounds {
		_, _ = fmt.Fprintf(stderr, "round %d of %d\n", round+1, o.rounds)
		// The first round warms file caches and is not counted, unless it is the only one.
		counted := samples
		if round == 0 && o.rounds > 1 {
			counted = nil
		}
		if err := b.round(ctx, round, counted); err != nil {
			return err
		}
	}
	return b.print(ctx, stdout, samples, o)
}
