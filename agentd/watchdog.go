package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/felhom/felhom-golden/agentd/internal/api"
	"github.com/felhom/felhom-golden/internal/contract"
)

// keepAlive reports to systemd that the daemon is alive, each time that store
// and listeners have answered. If they do not answer, systemd restarts the
// daemon after three missing reports.
func (s *service) keepAlive(ctx context.Context, every time.Duration) {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		check, cancel := context.WithTimeout(ctx, every)
		err := s.answering(check)
		cancel()
		switch {
		case ctx.Err() != nil:
			return // stopping has its own limit
		case err != nil:
			s.logger.WithError(err).Error("not answering itself; systemd will restart the daemon if this lasts")
		default:
			s.notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// answering asks the health socket, whose answer needs the store, and each
// listener for a handshake.
func answering(ctx context.Context, healthSocket string, listen []string) error {
	if err := askHealth(ctx, healthSocket); err != nil {
		return fmt.Errorf("health socket: %w", err)
	}
	for _, address := range listen {
		if err := handshake(ctx, address); err != nil {
			return fmt.Errorf("listener %s: %w", address, err)
		}
	}
	return nil
}

// askHealth accepts any answer: a damaged record of a guest makes the daemon
// not ready, and no restart repairs it.
func askHealth(ctx context.Context, socket string) error {
	_, err := healthOf(ctx, socket)
	return err
}

// healthOf asks the daemon how it is.
func healthOf(ctx context.Context, socket string) (health api.Health, err error) {
	err = overHealthSocket(ctx, socket, contract.PathHealth, func(answer *http.Response) error {
		if err := json.NewDecoder(io.LimitReader(answer.Body, contract.MaxResponseBytes)).Decode(&health); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		return nil
	})
	return health, err
}

// overHealthSocket makes a request to the daemon's Unix socket and lets read take
// the answer.
func overHealthSocket(ctx context.Context, socket, path string, read func(*http.Response) error) (err error) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://health"+path, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	return read(answer)
}

// handshake proves that the daemon accepts connections. A closed connection is an
// answer, too: under a flood the caps refuse this connection like any other, and a
// daemon that resists a flood must not be killed.
func handshake(ctx context.Context, address string) error {
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // nothing is sent or trusted: it only has to answer
	}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	if err != nil {
		return err
	}
	return conn.Close()
}
