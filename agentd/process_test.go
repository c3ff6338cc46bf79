package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// process is the program as a process of its own.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended
}

// startProcess starts the daemon on the bed and returns when it serves. before
// is put before the program's own arguments: "env", for one.
func (b *bed) startProcess(t testing.TB, before ...string) *process {
	t.Helper()
	name := filepath.Join(b.dir, "notify")
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	notify := listenNotify(t, name)
	args := append(slices.Clone(before), program, "--config", b.config, "serve")
	p := &process{cmd: exec.Command(args[0], args[1:]...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+name)
	p.cmd.Stdout, p.cmd.Stderr = b.logs, b.logs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ends is judged by those who end it
		close(p.ended)
	}()
	t.Cleanup(func() { p.end(t, os.Interrupt) })
	if got := notify(); !strings.HasPrefix(got, "READY=1") {
		t.Fatalf("systemd was told %q, want READY=1:\n%s", got, b.logs)
	}
	return p
}

// startDaemonProcess is [startDaemon] with a process of its own for the daemon. A test that runs in
// parallel with others needs it: the name of systemd's socket is in the process's environment.
func startDaemonProcess(t *testing.T, more ...string) *bed {
	t.Helper()
	b := newBed(t, more...)
	p := b.startProcess(t)
	t.Cleanup(func() {
		p.end(t, os.Interrupt)
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("serve ended with %d after its signal:\n%.4000s", code, b.logs)
		}
	})
	return b
}

// end sends the signal and waits. It is safe to repeat.
func (p *process) end(t testing.TB, signal os.Signal) {
	t.Helper()
	_ = p.cmd.Process.Signal(signal) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		t.Errorf("the daemon did not end within %v of its signal", patience)
	}
}

func (p *process) assertAlive(t testing.TB, logs *output) {
	t.Helper()
	select {
	case <-p.ended:
		t.Fatalf("the daemon died: %v\n%.4000s", p.cmd.ProcessState, logs)
	default:
	}
}

// crowd is many guests, each with an address of its own.
type crowd struct {
	b      *bed
	tokens []token.Token
	client []*http.Client
}

func (b *bed) crowd(t testing.TB, n int) *crowd {
	t.Helper()
	store := b.store(t)
	c := &crowd{b: b}
	for i := range n {
		minted, err := store.Mint(t.Context(), 8200+i, 100000, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		c.join(t, minted.Token)
	}
	return c
}

// join adds the guest of the token, with an address of its own.
func (c *crowd) join(t testing.TB, tok token.Token) {
	i := len(c.tokens)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(i/250), byte(i%250+1))}}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(transport.CloseIdleConnections)
	c.tokens = append(c.tokens, tok)
	c.client = append(c.client, &http.Client{Transport: transport, Timeout: 30 * time.Second})
}

// ask makes one request of guest i.
func (c *crowd) ask(ctx context.Context, i int, method, path string, body []byte) (status int, retryAfter string, err error) {
	r, err := http.NewRequestWithContext(ctx, method, c.b.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+c.tokens[i].Reveal())
	r.Header.Set("Content-Type", "application/json")
	res, err := c.client[i].Do(r)
	if err != nil {
		return 0, "", err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header.Get("Retry-After"), errors.Join(err, res.Body.Close())
}

// askUntil asks until the answer has status want and returns its Retry-After.
// It asks again after the statuses of retries, and without an answer: a busy
// machine can take too long for a handshake. The pauses grow: a crowd that asked
// at one rate would keep such a machine busy with handshakes alone.
func (c *crowd) askUntil(t testing.TB, i int, method, path string, body []byte, want int, retries ...int) (retryAfter string) {
	t.Helper()
	pause := 300 * time.Millisecond
	for deadline := time.Now().Add(6 * time.Minute); ; <-time.After(pause) {
		status, after, err := c.ask(t.Context(), i, method, path, body)
		if err == nil && status == want {
			return after
		}
		if err == nil && !slices.Contains(retries, status) || time.Now().After(deadline) {
			t.Errorf("guest %d, %s %s: %d, %v, want %d", 8200+i, method, path, status, err, want)
			return after
		}
		pause = min(2*pause, 10*time.Second)
	}
}
