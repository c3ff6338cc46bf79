package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/run"
)

// Limits of a fleet on one machine: a daemon takes some 25 MB, and a guest is an address on the loopback.
const (
	maxNodes        = 250
	maxGuestsOfNode = 200
	fleetLimit      = 30 * time.Minute
)

// fleet is many hosts on one machine: real daemons, each with its own state, and guests that are connections of this process.
type fleet struct {
	nodes    []*apiField
	upstream *upstream
	window   time.Duration // in which all guests boot
	log      io.Writer
}

// benchFleet measures what a fleet's guests ask of their hosts, and the hosts of their registry.
func benchFleet(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, fleetLimit)
	defer cancel()
	dir, err := os.MkdirTemp("", "bench-fleet-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f := &fleet{window: o.window, log: stderr}
	if f.upstream, err = startUpstream(ctx, dir); err != nil {
		return err
	}
	defer f.upstream.server.Close()
	defer func() { err = errors.Join(err, f.stop()) }()
	if err := f.start(ctx, o, dir); err != nil {
		return err
	}
	var r fleetResults
	for _, phase := range []struct {
		what string
		work func(context.Context) (traffic, error)
		into *traffic
	}{{"reports", f.reports, &r.reports}, {"pulls", f.pulls, &r.pulls}, {"new tokens", f.rotations, &r.rotations}} {
		_, _ = fmt.Fprintf(stderr, "%s\n", phase.what)
		if *phase.into, err = f.measured(ctx, phase.work); err != nil {
			return fmt.Errorf("%s: %w", phase.what, err)
		}
	}
	r.asked, r.sent = f.upstream.asked.Load(), f.upstream.sent.Load()
	for _, n := range f.nodes {
		bytes, err := residentBytes(n.daemon.PID())
		if err != nil {
			return err
		}
		r.memory = append(r.memory, bytes)
	}
	return r.print(stdout, o)
}

func (f *fleet) start(ctx context.Context, o options, dir string) error {
	binary, err := agentdOf(o)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(f.log, "starting %d daemons with %d guests each\n", o.nodes, o.each)
	for i := range o.nodes {
		n := &apiField{dir: filepath.Join(dir, "node"+strconv.Itoa(i)), image: f.upstream.image, binary: binary, log: f.log}
		n.config = filepath.Join(n.dir, "agentd.yaml")
		n.more = f.upstream.config + fmt.Sprintf("cache: {dir: %s/blobs, size: 64MiB}\n", n.dir)
		if err := os.Mkdir(n.dir, 0o700); err != nil {
			return err
		}
		if err := n.startDaemon(ctx); err != nil {
			return err
		}
		f.nodes = append(f.nodes, n)
	}
	for i, n := range f.nodes {
		if i%10 == 9 {
			_, _ = fmt.Fprintf(f.log, "guests of %d nodes are known\n", i)
		}
		if err := n.add(ctx, o.each); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) stop() (err error) {
	for _, n := range f.nodes {
		err = errors.Join(err, n.daemon.Stop(time.Minute))
	}
	return err
}

// measured adds what the daemons spent.
func (f *fleet) measured(ctx context.Context, work func(context.Context) (traffic, error)) (t traffic, err error) {
	before, err := f.cpu()
	if err != nil {
		return t, err
	}
	began := time.Now()
	if t, err = work(ctx); err != nil {
		return t, err
	}
	t.wall = time.Since(began)
	after, err := f.cpu()
	t.cpu = after - before
	return t, err
}

func (f *fleet) cpu() (total time.Duration, err error) {
	for _, n := range f.nodes {
		of, err := cpuOf(n.daemon.PID())
		if err != nil {
			return 0, err
		}
		total += of
	}
	return total, nil
}

// each calls work for each guest of each node, that many at a time, and returns how long each call took.
func (f *fleet) each(slots int, work func(n *apiField, guest int) error) (traffic, error) {
	var t traffic
	var mu sync.Mutex
	var errs []error
	free := make(chan struct{}, slots)
	var working sync.WaitGroup
	for guest := range len(f.nodes[0].guests) { // the nodes in turn, so that all have something to do
		for _, n := range f.nodes {
			working.Go(func() {
				free <- struct{}{}
				defer func() { <-free }()
				began := time.Now()
				err := work(n, guest)
				mu.Lock()
				defer mu.Unlock()
				if t.took = append(t.took, time.Since(began)); err != nil && len(errs) < 10 {
					errs = append(errs, err)
				}
			})
		}
	}
	working.Wait()
	return t, errors.Join(errs...)
}

// reports boots all guests of all nodes within the window, and wants all their reports on the hosts.
func (f *fleet) reports(ctx context.Context) (t traffic, err error) {
	begin := time.Now()
	var mu sync.Mutex
	if _, err := f.each(len(f.nodes)*len(f.nodes[0].guests), func(n *apiField, guest int) error {
		took, err := n.boot(ctx, guest, begin, f.window)
		mu.Lock()
		defer mu.Unlock()
		t.took = append(t.took, took...)
		return err
	}); err != nil {
		return t, err
	}
	for i, n := range f.nodes {
		stored, err := n.stored(ctx)
		if err == nil && stored != len(n.guests) {
			err = fmt.Errorf("%d of %d guests have all their reports on the host", stored, len(n.guests))
		}
		if err != nil {
			return t, fmt.Errorf("node %d: %w", i, err)
		}
	}
	return t, nil
}

// pullsAtOnce is how many guests of the fleet pull at the same time.
const pullsAtOnce = 64

// pulls has each guest get the image through its host, as an engine does.
func (f *fleet) pulls(ctx context.Context) (traffic, error) {
	return f.each(pullsAtOnce, func(n *apiField, guest int) error {
		c := n.client(guest, sourceOf(guest))
		defer c.CloseIdleConnections()
		for _, path := range f.upstream.paths {
			if err := getImage(ctx, c, "https://"+n.own+path, n.guests[guest].LocalAPIToken.Reveal()); err != nil {
				return fmt.Errorf("guest %d: %w", firstGuest+guest, err)
			}
		}
		return nil
	})
}

// rotations gives all guests of all nodes new tokens, each guest uses its own, and the old one is refused.
func (f *fleet) rotations(ctx context.Context) (traffic, error) {
	var rotating sync.WaitGroup
	errs := make([]error, len(f.nodes))
	free := make(chan struct{}, runtime.NumCPU())
	for i, n := range f.nodes {
		rotating.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			_, errs[i] = run.Run(ctx, run.Cmd{Path: n.binary, Args: []string{"--config", n.config, "guest", "rotate", "--all"}, Env: os.Environ()})
		})
	}
	rotating.Wait()
	if err := errors.Join(errs...); err != nil {
		return traffic{}, err
	}
	return f.each(pullsAtOnce, func(n *apiField, guest int) error {
		now, err := n.mounted(firstGuest + guest)
		if err != nil {
			return err
		}
		c := n.client(guest, sourceOf(guest))
		defer c.CloseIdleConnections()
		// A controller's question, which ends the token before; the guest has no storage that could be shown.
		for _, one := range []struct {
			of        contract.Bootstrap
			isRefused bool
		}{{now, false}, {n.guests[guest], true}} {
			status, _, err := ask(ctx, c, n.own, contract.PathStorage, one.of.LocalAPIToken.Reveal())
			if err != nil {
				return err
			}
			if isRefused := status == http.StatusUnauthorized || status == http.StatusForbidden; isRefused != one.isRefused {
				return fmt.Errorf("guest %d: status %d, want it refused: %t", firstGuest+guest, status, one.isRefused)
			}
		}
		n.guests[guest] = now
		return nil
	})
}

// getImage reads a manifest or a blob to its end.
func getImage(ctx context.Context, c *http.Client, url, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.SetBasicAuth("guest", token)
	req.Header.Set("Accept", manifestTypes)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 4*layerBytes))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", req.URL.Path, resp.Status)
	}
	return nil
}
