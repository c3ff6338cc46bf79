package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// dialFrom opens a connection from one of the loopback's addresses.
func dialFrom(ctx context.Context, source, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 20 * time.Second}
	return d.DialContext(ctx, "tcp", addr)
}

// exchange does one request over conn and returns the status.
func exchange(conn net.Conn, r *bufio.Reader, host, path, bearer string) (int, error) {
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	head := "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n"
	if bearer != "" {
		head += "Authorization: Bearer " + bearer + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, errors.Join(err, res.Body.Close(), conn.SetDeadline(time.Time{}))
}

// occupy holds as many connections as the daemon lets it: 16 of each of 32
// addresses, each with one request, and a new one for each that is closed. It
// returns once each has been tried.
func occupy(t *testing.T, addr, bearer string, isSilent bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var holding, first sync.WaitGroup
	hold := func(source string) {
		raw, err := dialFrom(ctx, source, addr)
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
		defer func() { stop(); _ = raw.Close() }()
		conn := raw
		if !isSilent {
			secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			if _, err := exchange(secure, bufio.NewReader(secure), addr, "/guest", bearer); err != nil {
				return
			}
			conn = secure
		}
		_, _ = conn.Read(make([]byte, 1)) // until it is closed
	}
	for i := range 32 {
		for range 16 {
			first.Add(1)
			holding.Go(func() {
				once := sync.OnceFunc(first.Done)
				for ctx.Err() == nil {
					started := time.AfterFunc(time.Second, once)
					hold(fmt.Sprintf("127.0.1.%d", i+1))
					started.Stop()
					once()
					// Each one comes back often, but all together they do not take
					// the whole processor for their own handshakes.
					select {
					case <-ctx.Done():
					case <-time.After(5 * time.Second):
					}
				}
			})
		}
	}
	t.Cleanup(func() { cancel(); holding.Wait() })
	first.Wait()
}

// askOnce does one request of the guest over a connection of its own.
func askOnce(ctx context.Context, addr, bearer string) error {
	conn, err := dialFrom(ctx, "127.0.2.1", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	status, err := exchange(secure, bufio.NewReader(secure), addr, "/guest", bearer)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	return err
}

// retry calls f until it returns nil, at most times.
func retry(ctx context.Context, times int, f func() error) error {
	err := f()
	for i := 1; err != nil && i < times && ctx.Err() == nil; i++ {
		err = f()
	}
	return err
}

func guestsBesideAttackers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ isSilent, hasToken bool }{
		"refused once a minute":       {},
		"silent":                      {isSilent: true},
		"one token of many addresses": {hasToken: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := startDaemonProcess(t, "limits: {connections_total: 512}\n")
			addr := strings.TrimPrefix(b.url, "https://")
			good := b.add(t, "8200").LocalAPIToken.Reveal()
			attacker := ""
			if c.hasToken {
				attacker = b.add(t, "8201").LocalAPIToken.Reveal()
			}
			occupy(t, addr, attacker, c.isSilent)
			for i := range 20 {
				// A guest that was never seen before, and then one that was. Its
				// handshake has seconds, which a busy machine may take from it: it
				// tries again, as guests do.
				if err := retry(t.Context(), 40, func() error { return askOnce(t.Context(), addr, good) }); err != nil {
					t.Fatalf("request %d of the guest: %v", i, err)
				}
			}
		})
	}
}

func TestARefusalClosesTheConnection(t *testing.T) {
	b := startDaemon(t)
	addr := strings.TrimPrefix(b.url, "https://")
	good := b.add(t, "8200").LocalAPIToken.Reveal()
	for name, c := range map[string]struct {
		host, bearer string
		isKept       bool
	}{
		"no token": {addr, "", false}, "wrong host": {"x", good, false}, "wrong token": {addr, good + "x", false}, "valid token": {addr, good, true},
	} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		if _, err := exchange(conn, r, c.host, "/guest", c.bearer); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := exchange(conn, r, addr, "/guest", good); (err == nil) != c.isKept {
			t.Errorf("%s: the second request: %v, want the connection kept: %v", name, err, c.isKept)
		}
		_ = conn.Close()
	}
}

// Each guest keeps its connection; more guests than connections must not keep
// the last ones out.
func TestMoreGuestsThanConnections(t *testing.T) {
	b := startDaemon(t, "limits: {connections_total: 32}\n")
	addr := strings.TrimPrefix(b.url, "https://")
	store := b.store(t)
	for i := range 100 {
		minted, err := store.Mint(t.Context(), 8200+i, 100000, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := dialFrom(t.Context(), fmt.Sprintf("127.0.3.%d", i+1), addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if status, err := exchange(secure, bufio.NewReader(secure), addr, "/guest", minted.Token.Reveal()); err != nil || status != http.StatusOK {
			t.Fatalf("guest %d: %d, %v", i, status, err)
		}
	}
}

// What net/http answers before it calls a handler is JSON as well.
func TestEveryAnswerIsJSON(t *testing.T) {
	b := startDaemon(t)
	addr := strings.TrimPrefix(b.url, "https://")
	host := "Host: " + addr + "\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
		isPlain bool
	}{
		"garbage":             {"garbage\r\n\r\n", 400, false},
		"no host":             {"GET / HTTP/1.1\r\n\r\n", 400, false},
		"two hosts":           {"GET / HTTP/1.1\r\n" + host + host + "\r\n", 400, false},
		"malformed host":      {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, false},
		"malformed header":    {"GET / HTTP/1.1\r\n" + host + "a b: c\r\n\r\n", 400, false},
		"header value":        {"GET / HTTP/1.1\r\n" + host + "a: \x01\r\n\r\n", 400, false},
		"two lengths":         {"POST /reports HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, false},
		"version 2":           {"GET / HTTP/2.0\r\n" + host + "\r\n", 505, false},
		"preface of HTTP/2":   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421, false},
		"version 3":           {"GET / HTTP/3.0\r\n" + host + "\r\n", 505, false},
		"large header":        {"GET / HTTP/1.1\r\n" + host + "a: " + strings.Repeat("x", 9<<10) + "\r\n\r\n", 431, false},
		"long path":           {"GET /" + strings.Repeat("x", 9<<10) + " HTTP/1.1\r\n" + host + "\r\n", 431, false},
		"transfer encoding":   {"POST /reports HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip\r\n\r\n", 501, false},
		"expectation":         {"GET / HTTP/1.1\r\n" + host + "Expect: wonders\r\n\r\n", 417, false},
		"handler's own":       {"GET / HTTP/1.1\r\n" + host + "\r\n", 401, false},
		"of version 1.0":      {"GET / HTTP/1.0\r\n" + host + "\r\n", 401, false},
		"options":             {"OPTIONS * HTTP/1.1\r\n" + host + "\r\n", 401, false},
		"without TLS":         {"GET / HTTP/1.1\r\n" + host + "\r\n", 400, true},
		"without TLS, a post": {"POST /reports HTTP/1.1\r\n" + host + "\r\n", 400, true},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if !c.isPlain {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			var problem contract.Problem
			if err := errors.Join(err, json.Unmarshal(body, &problem)); err != nil || res.StatusCode != c.status || problem.Error == "" || problem.Message == "" {
				t.Errorf("%d %q, %v, want %d and a problem", res.StatusCode, body, err, c.status)
			}
			if got := res.Header.Get("Content-Type"); got != "application/json" || !res.Close {
				t.Errorf("type %q, close %v", got, res.Close)
			}
		})
	}
}
