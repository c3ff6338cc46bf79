package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/listener"
	"github.com/felhom/felhom-golden/agentd/internal/statuspage"
)

// statusConnections is how many connections the page's own listener takes.
const statusConnections = 64

// statusPage returns the page of the guests.
func statusPage(cfg config.Config, store *guests.Store) http.Handler {
	source := sourceFrom(cfg, store)
	return statuspage.New(statuspage.Options{
		Host: cfg.HostID, Version: version, Rows: source.Rows, Row: source.Row, Progress: store.Progress, Rollout: source.Rollout, Now: time.Now,
	})
}

// withStatus adds the page to the handler of the Unix socket.
func withStatus(page, health http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(statuspage.Path, page)
	mux.Handle(statuspage.PathGuests, page)
	mux.Handle("/", health)
	return mux
}

// statusServer is the page on a loopback address: nil where none is configured.
type statusServer struct {
	*http.Server
	socket net.Listener
}

// listenStatus binds the page's own address.
func listenStatus(ctx context.Context, cfg config.Config, page http.Handler, complaints *log.Logger) (*statusServer, error) {
	if !cfg.StatusListen.IsValid() {
		return nil, nil
	}
	sockets, err := listener.Bind(ctx, []netip.AddrPort{cfg.StatusListen})
	if err != nil {
		return nil, err
	}
	caps := listener.NewCaps(statusConnections/2, statusConnections, cfg.Limits.HandshakesPerSecond)
	return &statusServer{Server: api.HTTP(page, complaints), socket: caps.Wrap(sockets[0])}, nil
}
