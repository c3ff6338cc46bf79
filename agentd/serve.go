package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/agentd/internal/origin"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/filelock"
)

// drainTime is how long requests under way may take after SIGTERM.
const drainTime = 10 * time.Second

// serve runs the daemon until ctx is done, which is its way to end well.
func serve(ctx context.Context, cfg config.Config, o logOptions, stderr io.Writer) (err error) {
	if err := command.RequireRoot("serve"); err != nil {
		return err
	}
	logger := newLogger(stderr, o)
	h, err := openHost(ctx, cfg, time.Now)
	if err != nil {
		return err
	}
	// Two daemons on one state directory would lose each other's reports.
	unlock, err := filelock.Claim(filepath.Join(cfg.StateDir, "serve.lock"))
	if err != nil && !errors.Is(err, filelock.ErrHeld) {
		return fmt.Errorf("serve from %s: %w", cfg.StateDir, err)
	}
	if err != nil {
		return fault.WrapHint(fault.NotReady, fmt.Errorf("serve from %s: %w", cfg.StateDir, err), "another felhom-agentd serves from there; stop it first: systemctl stop felhom-agentd")
	}
	defer func() { err = errors.Join(err, unlock()) }()
	store, err := guests.Open(cfg.StoreDir, cfg.StateDir, time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	// What cannot be swept does not keep it from serving.
	if err := errors.Join(store.Sweep(ctx), provision.Sweep(ctx, cfg.StateDir, mountsOf(cfg))); err != nil {
		logger.WithError(err).Warn("files of killed commands stay")
	}
	if err := store.Recover(); err != nil {
		return err
	}
	counts := newCounts(cfg, h, store)
	trail, err := openTrail(cfg, logger, counts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, trail.close()) }()
	reg, err := openRegistry(cfg, store, logger, trail, counts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reg.close()) }()
	sockets, err := listener.Bind(ctx, h.addrs)
	if err != nil {
		return fault.WrapHint(fault.NotReady, err, "end the process that holds it, or set listen in the configuration")
	}
	health, err := listenHealth(cfg.HealthSocket)
	if err != nil {
		for _, l := range sockets {
			err = errors.Join(err, l.Close())
		}
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(cfg.HealthSocket)) }()
	page := statusPage(cfg, store)
	status, err := listenStatus(ctx, cfg, page, complaintsTo(logger))
	if err != nil {
		return fault.WrapHint(fault.NotReady, err, "end the process that holds it, or set status_listen in the configuration")
	}
	for _, file := range h.identity.Made {
		logger.WithField("file", filepath.Join(cfg.StateDir, "tls", file)).Info("TLS file made")
	}
	checker, err := openOrigin(cfg, logger)
	if err != nil {
		return err
	}
	if checker != nil {
		defer func() { err = errors.Join(err, checker.Close()) }()
	}
	rules, err := openFirewall(ctx, cfg, store, logger)
	if err != nil {
		return err
	}
	trail.started()
	var background sync.WaitGroup // it ends with ctx
	defer background.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if reg.proxy != nil {
		background.Go(func() { checkRegistries(ctx, cfg, logger) })
	}
	s := newDaemon(cfg, h, store, reg, logger, trail, checker, counts)
	s.keeper = newKeeper(cfg, h, store, logger, s)
	s.keeper.ancestry = newAncestry(cfg, store, logger, trail.queue.Add, s.keeper.isElsewhere)
	defer func() { err = errors.Join(err, s.keeper.ancestry.close()) }()
	s.health.Handler = withStatus(page, s.health.Handler)
	s.status = status
	s.firewall = rules
	return s.serve(ctx, h.addrs, sockets, health)
}

// service is everything that serves while the daemon runs.
type service struct {
	logger *logrus.Logger
	registry
	api      *http.Server
	health   *http.Server
	status   *statusServer // nil: the page is on the Unix socket alone
	caps     *listener.Caps
	secure   func(net.Listener) net.Listener
	ready    atomic.Bool
	shown    atomic.Pointer[appearance]
	setHosts func([]string)
	keeper   *keeper         // nil: nothing is followed
	firewall *firewallKeeper // nil: the configuration does not ask for rules
	// answering asks store and listeners; it is what the watchdog relies on.
	answering func(context.Context) error
}

func newDaemon(cfg config.Config, h host, store *guests.Store, reg registry, logger *logrus.Logger, trail *trail, checker *origin.Checker, counts *counts) *service {
	s := &service{logger: logger, registry: reg, caps: listener.NewCaps(cfg.Limits.ConnectionsPerSource, cfg.Limits.ConnectionsTotal, cfg.Limits.HandshakesPerSecond)}
	s.caps.Refused = func(source netip.Prefix, why string) {
		logger.WithFields(logrus.Fields{"source": source.Addr().String(), "cap": why}).Debug("connection closed")
	}
	counts.shown.Store(s)
	storage := storageOf(cfg)
	o := api.Options{
		Guests: store, Storage: storage, HostID: cfg.HostID, Version: version,
		ReportsPerMinute: cfg.Limits.ReportsPerMinute, Now: time.Now, Event: func(e api.Event) { logEvent(logger, e); trail.add(e); counts.Event(e) }, Served: counts.Served,
	}
	if reg.proxy != nil {
		o.Registry = reg.proxy
	}
	if checker != nil {
		counts.origin.Store(checker)
		o.Origin, o.EnforceOrigin = checker, cfg.Origin == config.OriginEnforce
	}
	handler := api.New(o)
	s.setHosts = handler.SetHosts
	s.show(h)
	complaints := complaintsTo(logger)
	s.api = api.HTTP(handler, complaints)
	s.secure = func(l net.Listener) net.Listener {
		return api.TLS(s.caps.Wrap(l), s.tlsConfig(), complaints)
	}
	s.answering = func(ctx context.Context) error {
		return answering(ctx, cfg.HealthSocket, s.shown.Load().listen)
	}
	s.health = api.HTTP(api.HealthHandler(func() api.Health {
		out := api.Health{Ready: s.ready.Load(), Listen: s.shown.Load().listen, Version: version}
		if checker != nil {
			seen := checker.Counts()
			out.Origin = &api.HealthOrigin{Mode: cfg.Origin, Checked: seen.Checked, Mismatches: seen.Mismatches}
		}
		records, broken, err := store.List()
		out.Guests, out.Ready = len(records), out.Ready && err == nil && len(broken) == 0
		return out
	}, counts.Handler()), complaints)
	return s
}

func (s *service) serve(ctx context.Context, addrs []netip.AddrPort, sockets []net.Listener, health net.Listener) error {
	group, running := errgroup.WithContext(ctx)
	set := listener.NewSet(group.Go, func(l net.Listener) error { return closed(s.api.Serve(s.secure(l))) })
	set.Start(addrs, sockets)
	if s.keeper != nil {
		group.Go(func() error { s.keeper.run(running, set); return nil })
	}
	group.Go(func() error { return closed(s.health.Serve(health)) })
	if s.firewall != nil {
		group.Go(func() error { s.firewall.run(running); return nil })
	}
	servers := []*http.Server{s.api, s.health}
	if s.status != nil {
		group.Go(func() error { return closed(s.status.Serve(s.status.socket)) })
		servers = append(servers, s.status.Server)
		s.logger.WithField("address", s.status.socket.Addr()).Info("status page")
	}
	s.ready.Store(true)
	listen := s.shown.Load().listen
	s.notify(daemon.SdNotifyReady + "\nSTATUS=serving " + strings.Join(listen, ", "))
	s.logger.WithFields(logrus.Fields{"listen": listen, "version": version}).Info("serving")
	group.Go(func() error { s.trimLater(running); return nil })
	// Not set where no unit asks for it.
	if every, err := daemon.SdWatchdogEnabled(false); err != nil {
		s.logger.WithError(err).Warn("no watchdog")
	} else if every > 0 {
		group.Go(func() error { s.keepAlive(running, every/3); return nil })
	}
	group.Go(func() error {
		<-running.Done()
		s.ready.Store(false)
		s.notify(daemon.SdNotifyStopping)
		if s.proxy != nil {
			s.proxy.Stop()
		}
		// Not ctx: it is done, and the requests under way are what is waited for.
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		return s.drain(drain, servers)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	s.logger.Info("stopped")
	return nil
}

// drain ends the servers, all at the same time, and waits for their requests
// until ctx is done. Requests that are under way then are cut: a guest that takes
// its time is not a fault of the daemon.
func (s *service) drain(ctx context.Context, servers []*http.Server) error {
	errs := make([]error, len(servers))
	var ending sync.WaitGroup
	for i, server := range servers {
		ending.Go(func() {
			err := server.Shutdown(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				s.logger.WithField("seconds", drainTime.Seconds()).Warn("requests did not end in time and are cut")
				err = server.Close()
			}
			errs[i] = err
		})
	}
	ending.Wait()
	return errors.Join(errs...)
}

// closed is nil for the one way in which a server is meant to end.
func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *service) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.logger.WithError(err).Warn("systemd was not told")
	}
}

// listenHealth makes the socket under another name and moves it into place once
// its mode is right: only root can connect for even a moment, and the
// leftover of a killed daemon is replaced. the lock has seen to it that no
// other one is alive.
func listenHealth(name string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	temporary := fmt.Sprintf("%s.%x", name, os.Getpid())
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(temporary, 0o600), os.Rename(temporary, name)); err != nil {
		_ = os.Remove(temporary) // the first error says what is wrong
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
