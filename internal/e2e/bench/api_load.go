package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/driver/run"
	"github.com/felhom/felhom-golden/internal/localapi"
	"github.com/felhom/felhom-golden/internal/pin"
)

// How much is asked. Each part is bounded by count and time.
const (
	keepAliveFor    = 2 * time.Second
	keepAliveConns  = 8
	handshakes      = 200 // of one round; the daemon allows bursts of 200 of one source
	bootWindow      = 10 * time.Second
	bootReports     = 14
	bootPatience    = 2 * time.Minute
	floodFor        = 5 * time.Second
	floodWorkers    = 16
	floodProbeEvery = 5 * time.Millisecond
)

// sample of one round.
type load struct {
	perSecond float64       // requests
	cpu       time.Duration // of the server, for one request or connection
}

// client returns a client with the pins of a guest and an address of its own on
// the loopback, because limits are counted by source.
func (f *apiField) client(guest int, source string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: pin.ClientTLS(f.guests[guest].LocalAPIPins), DialContext: dialer.DialContext, MaxConnsPerHost: 1, DisableCompression: true,
	}}
}

// sourceOf returns the loopback address of a guest.
func sourceOf(guest int) string { return fmt.Sprintf("127.1.%d.%d", guest/200, guest%200+1) }

// keepAlive asks over kept connections for a while.
func (f *apiField) keepAlive(ctx context.Context, at string, pid int) (l load, err error) {
	token := f.guests[0].LocalAPIToken.Reveal()
	clients := make([]*http.Client, keepAliveConns)
	for i := range clients {
		clients[i] = f.client(0, "127.0.0.1")
		if _, err := get(ctx, clients[i], at, token); err != nil {
			return l, err
		}
	}
	before, err := cpuOf(pid)
	if err != nil {
		return l, err
	}
	var count atomic.Int64
	errs := make([]error, len(clients))
	began := time.Now()
	var asking sync.WaitGroup
	for i, c := range clients {
		asking.Go(func() {
			for time.Since(began) < keepAliveFor && errs[i] == nil {
				_, errs[i] = get(ctx, c, at, token)
				count.Add(1)
			}
			c.CloseIdleConnections()
		})
	}
	asking.Wait()
	took := time.Since(began)
	after, err := cpuOf(pid)
	n := count.Load()
	return load{float64(n) / took.Seconds(), (after - before) / time.Duration(max(n, 1))}, errors.Join(append(errs, err)...)
}

// connect opens connections one after the other, with one request each.
func (f *apiField) connect(ctx context.Context, at string, pid int, source string) (l load, err error) {
	before, err := cpuOf(pid)
	if err != nil {
		return l, err
	}
	began := time.Now()
	for range handshakes {
		c := f.client(0, source)
		_, err := get(ctx, c, at, f.guests[0].LocalAPIToken.Reveal())
		c.CloseIdleConnections()
		if err != nil {
			return l, err
		}
	}
	took := time.Since(began)
	after, err := cpuOf(pid)
	return load{handshakes / took.Seconds(), (after - before) / handshakes}, err
}

// round measures the daemon and nginx in turn.
func (f *apiField) round(ctx context.Context, isCounted bool, r *apiResults) error {
	f.rounds++
	own, err := f.keepAlive(ctx, f.own, f.daemon.PID())
	if err != nil {
		return fmt.Errorf("felhom-agentd: %w", err)
	}
	peer, err := f.keepAlive(ctx, f.nginx, f.peer.PID())
	if err != nil {
		return fmt.Errorf("nginx: %w", err)
	}
	source := fmt.Sprintf("127.2.0.%d", f.rounds%250+1)
	ownNew, err := f.connect(ctx, f.own, f.daemon.PID(), source)
	if err != nil {
		return fmt.Errorf("felhom-agentd, new connections: %w", err)
	}
	peerNew, err := f.connect(ctx, f.nginx, f.peer.PID(), source)
	if err != nil {
		return fmt.Errorf("nginx, new connections: %w", err)
	}
	if isCounted {
		r.own, r.peer = append(r.own, own), append(r.peer, peer)
		r.ownNew, r.peerNew = append(r.ownNew, ownNew), append(r.peerNew, peerNew)
	}
	return nil
}

// crowd boots all guests within the window: each opens a connection and sends its
// reports at random times of a fifth of it. It returns how long each report took
// until it was acknowledged, with all tries.
func (f *apiField) crowd(ctx context.Context) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, bootPatience)
	defer cancel()
	took := make([][]time.Duration, len(f.guests))
	errs := make([]error, len(f.guests))
	begin := time.Now()
	var booting sync.WaitGroup
	for i := range f.guests {
		booting.Go(func() { took[i], errs[i] = f.boot(ctx, i, begin, bootWindow) })
	}
	booting.Wait()
	return slices.Concat(took...), errors.Join(errs...)
}

// boot is one guest that boots within the window.
func (f *apiField) boot(ctx context.Context, guest int, begin time.Time, window time.Duration) (took []time.Duration, err error) {
	b := f.guests[guest]
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(sourceOf(guest))}}
	c := &localapi.Client{Endpoint: b.LocalAPIEndpoint, Pins: b.LocalAPIPins, Token: b.LocalAPIToken, Timeout: time.Minute, Dial: dialer.DialContext}
	defer c.Close()
	at := make([]time.Duration, bootReports)
	start := rand.N(window * 4 / 5)
	for n := range at {
		at[n] = start + rand.N(window/5)
	}
	slices.Sort(at)
	for n := range at {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Until(begin.Add(at[n]))):
		}
		step, state := contract.Steps()[n/2], contract.StateStarted
		if n%2 == 1 {
			state = contract.StateDone
		}
		report := contract.Report{Run: "bench", Sequence: uint64(n) + 1, Time: time.Unix(1e9, 0).UTC(), Step: step, State: state, Message: "pulled registry.example/app:1", Version: "v0.1.0"}
		sent := time.Now()
		for err = c.Report(ctx, report); err != nil; err = c.Report(ctx, report) {
			if class := localapi.ClassOf(err); class != localapi.Later && class != localapi.Unreachable || ctx.Err() != nil {
				return nil, fmt.Errorf("guest %d: %w", firstGuest+guest, err)
			}
			<-time.After(100 * time.Millisecond)
		}
		took = append(took, time.Since(sent))
	}
	return took, nil
}

// stored returns how many guests have all their reports on the host.
func (f *apiField) stored(ctx context.Context) (count int, err error) {
	result, err := run.Run(ctx, run.Cmd{Path: f.binary, Args: []string{"--config", f.config, "guest", "list", "--json"}, Env: os.Environ()})
	if err != nil {
		return 0, err
	}
	var rows []struct {
		Sequence int `json:"sequence"`
	}
	if err := json.Unmarshal(result.Stdout, &rows); err != nil {
		return 0, err
	}
	for _, r := range rows {
		if r.Sequence == bootReports {
			count++
		}
	}
	return count, nil
}

// flood has one source do what it can with wrong tokens, while another one asks
// every few milliseconds. It returns how long those answers took.
func (f *apiField) flood(ctx context.Context) (took []time.Duration, err error) {
	c := f.client(1%len(f.guests), "127.3.0.1")
	defer c.CloseIdleConnections()
	token := f.guests[1%len(f.guests)].LocalAPIToken.Reveal()
	if _, err := get(ctx, c, f.own, token); err != nil {
		return nil, err
	}
	flooding, stop := context.WithTimeout(ctx, floodFor)
	defer stop()
	var attackers sync.WaitGroup
	for range floodWorkers {
		attackers.Go(func() {
			bad := f.client(0, "127.4.0.1")
			for flooding.Err() == nil {
				_, _ = get(flooding, bad, f.own, "fgt_8200_wrong") // refused, or cut off
				bad.CloseIdleConnections()
			}
		})
	}
	defer attackers.Wait()
	for flooding.Err() == nil {
		sent := time.Now()
		if _, err := get(ctx, c, f.own, token); err != nil {
			stop()
			return nil, fmt.Errorf("during the flood: %w", err)
		}
		took = append(took, time.Since(sent))
		<-time.After(floodProbeEvery)
	}
	return took, nil
}

// clockTick is USER_HZ, which is 100 on each architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuOf returns the processor time of a process and its children that live.
func cpuOf(pid int) (time.Duration, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat of process %d has %d fields", pid, len(fields))
	}
	user, errUser := strconv.ParseInt(fields[11], 10, 64)
	system, errSystem := strconv.ParseInt(fields[12], 10, 64)
	if err := errors.Join(errUser, errSystem); err != nil {
		return 0, err
	}
	total := time.Duration(user+system) * clockTick
	children, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "task", strconv.Itoa(pid), "children"))
	if err != nil {
		return 0, err
	}
	for _, child := range bytes.Fields(children) {
		id, err := strconv.Atoi(string(child))
		if err != nil {
			return 0, err
		}
		of, err := cpuOf(id)
		if err != nil {
			return 0, err
		}
		total += of
	}
	return total, nil
}

// residentBytes returns the memory of a process.
func residentBytes(pid int) (int64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("status of process %d has no VmRSS", pid)
}
