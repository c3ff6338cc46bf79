package testbed

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
)

const lockFile = "/run/felhom-testbed.lock"

// Options choose what a bed has.
type Options struct {
	Log          io.Writer // one line for each thing that is made; nil: none
	OwnEngine    bool      // start an engine also where one runs
	EngineConfig string    // daemon.json of an engine that the bed starts; "": the defaults
	NoEngine     bool      // start none: guests have their own
	Images       []string  // tags to push; nil: all of them
}

// Running is a bed that this process has made.
type Running struct {
	Bed
	Engine string // "own engine 20.10.24, API 1.41", for people
	undo   undo
	state  state
}

// Start makes a bed. It needs root. Several can run at the same time. On an
// error nothing is left; otherwise the caller calls Close. When ctx is done,
// Start returns soon, with nothing left.
func Start(ctx context.Context, o Options) (*Running, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if os.Geteuid() != 0 {
		return nil, fault.WrapHint(fault.NotReady, errors.New("the test bed makes a bridge and starts an engine: it needs root"),
			"run it as root, best in a virtual machine")
	}
	r := &Running{}
	err := r.start(ctx, o)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fault.Wrap(fault.Interrupted, fmt.Errorf("start the test bed: %w", err))
		}
		return nil, errors.Join(err, r.undo.run())
	}
	return r, nil
}

// Close takes the bed down. Its error has everything that it could not undo.
func (r *Running) Close() error { return r.undo.run() }

func (r *Running) start(ctx context.Context, o Options) error {
	logf := func(format string, args ...any) { _, _ = fmt.Fprintf(o.Log, "test bed: "+format+"\n", args...) }
	if err := checkTags(o.Images); err != nil {
		return err
	}
	needed := []string{"docker-registry", "ip"}
	if !o.NoEngine {
		needed = append(needed, "dockerd")
	}
	if err := Require(ctx, o.Log, needed...); err != nil {
		return err
	}
	if err := r.allocate(ctx, logf); err != nil {
		return fmt.Errorf("start the test bed: %w", err)
	}
	logf("bridge %s with address %s, no port of this machine in it", r.Bridge, r.Address)
	var token [24]byte
	_, _ = rand.Read(token[:]) // never fails
	if err := os.WriteFile(r.TokenFile, []byte(hex.EncodeToString(token[:])+"\n"), 0o600); err != nil {
		return err
	}
	if !o.NoEngine {
		if err := r.engine(ctx, o, logf); err != nil {
			return err
		}
		logf("%s on %s", r.Engine, r.DockerHost)
	}

	r.state.CertDir = filepath.Join(certsRoot, r.Registry)
	if err := r.state.save(r.Dir); err != nil {
		return err
	}
	r.undo.push(func() error { return removeCertDir(r.state.CertDir) })
	registry, err := startRegistry(ctx, r.Bed)
	if err != nil {
		return err
	}
	if err := r.own(registry); err != nil {
		return err
	}
	logf("registry %s with TLS and a password", r.Registry)

	pushed, err := pushImages(ctx, r.Bed, o.Images)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(pushed, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.ImagesFile, append(data, '\n'), 0o600); err != nil {
		return err
	}
	logf("images %s/%s:{%s}", r.Registry, Repository, joinKeys(pushed))
	return nil
}

// allocate makes the bed's directory, state and bridge. One at a time: two that
// look for a free network at once would find the same.
func (r *Running) allocate(ctx context.Context, logf func(string, ...any)) (err error) {
	unlock, err := filelock.Wait(ctx, lockFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := sweep(logf); err != nil {
		return err
	}
	var random [3]byte
	_, _ = rand.Read(random[:]) // never fails
	id := hex.EncodeToString(random[:])
	dir := filepath.Join(home, id)
	// Others may pass through it: a guest's root is an ordinary user here. Every secret
	// in it is in a file with mode 0600.
	if err := errors.Join(os.MkdirAll(dir, 0o711), os.Chmod(home, 0o711)); err != nil {
		return err
	}
	r.undo.push(func() error {
		err := os.RemoveAll(dir)
		_ = os.Remove(home) // fails while another bed is in it
		return err
	})
	owner, err := findProcess(os.Getpid())
	if err != nil {
		return err
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	used, err := usedSubnets()
	if err != nil {
		return err
	}
	network, err := freeSubnet(used)
	if err != nil {
		return err
	}
	r.Bed = bedAt(dir, network)
	r.state = state{Owner: owner, BootID: boot, Bridge: r.Bridge}
	if _, err := net.InterfaceByName(r.Bridge); err == nil {
		return fault.WrapHint(fault.NotReady, fmt.Errorf("there is an interface %s already, without an address", r.Bridge),
			"if no program uses it: ip link delete dev "+r.Bridge)
	}
	if err := r.state.save(dir); err != nil {
		return err
	}
	r.undo.push(func() error { return unmountDir(dir) })
	if err := shareDir(dir); err != nil {
		return err
	}
	r.undo.push(func() error { return removeBridge(r.Bridge) })
	r.undo.push(func() error { return stopGuests(r.LXCPath()) })
	return addBridge(ctx, r.Bridge, network)
}

func bedAt(dir string, network netip.Prefix) Bed {
	address := gateway(network).String()
	return Bed{
		Dir:        dir,
		DockerHost: "unix://" + filepath.Join(dir, "docker.sock"),
		Bridge:     fmt.Sprintf("fgtbr%d", network.Addr().As4()[2]),
		Address:    address,
		Registry:   net.JoinHostPort(address, "5000"),
		Username:   registryUser,
		TokenFile:  filepath.Join(dir, "registry-token"),
		CAFile:     filepath.Join(dir, "registry-ca.crt"),
		ImagesFile: filepath.Join(dir, "images.json"),
	}
}

// engine finds or starts the engine.
func (r *Running) engine(ctx context.Context, o Options, logf func(string, ...any)) error {
	kind := "own engine"
	running := ""
	if !o.OwnEngine {
		host, why, err := runningEngine(ctx)
		if err != nil {
			return err
		}
		if running = host; why != "" {
			logf("%s: starting one", why)
		}
	}
	if running != "" {
		r.DockerHost, kind = running, "engine that was running already"
	} else {
		cgroup := "felhom-testbed-" + filepath.Base(r.Dir)
		r.state.Cgroup = cgroup
		if err := r.state.save(r.Dir); err != nil {
			return err
		}
		r.undo.push(func() error { return removeCgroup(cgroup) })
		d, err := startEngine(ctx, r.Bed, cgroup, o.EngineConfig)
		if err != nil {
			return err
		}
		if err := r.own(d); err != nil {
			return err
		}
	}
	e, err := NewEngine(r.DockerHost)
	if err != nil {
		return err
	}
	defer e.Close()
	version, api, err := e.Version(ctx)
	if err != nil {
		return err
	}
	r.Engine = fmt.Sprintf("%s %s, API %s", kind, version, api)
	return nil
}

// own records a daemon for the next start and for Close.
func (r *Running) own(d *Daemon) error {
	r.undo.push(func() error { return d.Stop(20 * time.Second) })
	p, err := findProcess(d.cmd.Process.Pid)
	if err != nil {
		return err
	}
	r.state.Daemons = append(r.state.Daemons, p)
	return r.state.save(r.Dir)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
