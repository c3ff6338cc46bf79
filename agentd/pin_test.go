package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/identity"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/pin"
)

// fails runs a command that must exit with code, and returns its stderr.
func (b *bed) fails(t *testing.T, code int, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if got := run(t.Context(), append([]string{program, "--config", b.config}, args...), &stdout, &stderr); got != code || stdout.Len() > 0 {
		t.Fatalf("%v: exit %d, stdout %q, want %d and none: %s", args, got, stdout.String(), code, stderr.String())
	}
	return stderr.String()
}

// keys returns the pins of the host's keys.
func (b *bed) keys(t *testing.T) (current, next string) {
	t.Helper()
	var out struct{ Current, Next pinPair }
	if err := json.Unmarshal([]byte(b.command(t, "pin", "--json")), &out); err != nil {
		t.Fatal(err)
	}
	return out.Current.SPKI, out.Next.SPKI
}

// pinned returns the pins in a guest's mount.
func (b *bed) pinned(t *testing.T, vmid string) []string {
	t.Helper()
	var out []string
	for _, p := range b.mounted(t, vmid).LocalAPIPins {
		out = append(out, p.String())
	}
	return out
}

// asking makes requests with a new connection each, until stop is closed, with
// what pins and token hold at that moment. It fails the test at the first that
// fails.
func (b *bed) asking(t *testing.T, stop <-chan struct{}, ended *sync.WaitGroup, what func() contract.Bootstrap) {
	ended.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			boot := what()
			c := &http.Client{Transport: &http.Transport{TLSClientConfig: pin.ClientTLS(boot.LocalAPIPins), DisableKeepAlives: true}, Timeout: time.Minute}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+contract.PathStorage, nil)
			if err == nil {
				r.Header.Set("Authorization", "Bearer "+boot.LocalAPIToken.Reveal())
				var res *http.Response
				if res, err = c.Do(r); err == nil {
					if res.StatusCode != http.StatusOK {
						err = errors.New(res.Status)
					}
					err = errors.Join(err, res.Body.Close())
				}
			}
			if err != nil {
				t.Errorf("a pinned request failed: %v", err)
				return
			}
		}
	})
}

// No pinned request fails while keys are rotated: neither one with the pins that
// the guest read before the rotation, nor one with those in its mount.
func TestPinRotateFailsNoRequest(t *testing.T) {
	b := startDaemon(t, "limits: {handshakes_per_second: 10000, connections_per_source: 1000}\n")
	b.add(t, "8201")
	for range 2 {
		before := b.add(t, "8200")
		oldCurrent, oldNext := b.keys(t)
		stop, ended := make(chan struct{}), &sync.WaitGroup{}
		b.asking(t, stop, ended, func() contract.Bootstrap { return before })
		b.asking(t, stop, ended, func() contract.Bootstrap {
			data, err := os.ReadFile(filepath.Join(b.dir, "mounts/8200/bootstrap.json"))
			if err != nil {
				t.Error(err)
			}
			boot, _ := contract.Parse(data)
			return boot
		})
		var out rotated
		if err := json.Unmarshal([]byte(b.command(t, "pin", "rotate", "--json")), &out); err != nil {
			t.Fatal(err)
		}
		current, next := b.keys(t)
		if current != oldNext || next == oldCurrent || next == oldNext || out.Current != current || out.Next != next || !slices.Equal(out.Guests, []int{8200, 8201}) {
			t.Errorf("pins %s %s after %s %s; printed %+v", current, next, oldCurrent, oldNext, out)
		}
		for _, vmid := range []string{"8200", "8201"} {
			if got := b.pinned(t, vmid); !slices.Equal(got, []string{current, next}) {
				t.Errorf("the mount of %s has the pins %v, want %s %s", vmid, got, current, next)
			}
		}
		close(stop)
		ended.Wait()
	}
	if names, err := os.ReadDir(filepath.Join(b.dir, "state/tls")); err != nil || len(names) != 4 {
		t.Errorf("files of keys: %v, %v, want two keys and two certificates", names, err)
	}
}

// A guest whose mount does not have the next pin, and cannot be given it, keeps
// the old key shown; it is named; and the same command finishes the rotation
// once it can.
func TestPinRotateNamesGuestsThatItCannotReach(t *testing.T) {
	t.Parallel()
	b := startDaemonProcess(t, "limits: {handshakes_per_second: 10000, connections_per_source: 1000}\n")
	b.add(t, "8200")
	b.add(t, "8201")
	file := filepath.Join(b.dir, "mounts/8201/bootstrap.json")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	current, next := b.keys(t)
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		text := b.fails(t, 5, "pin", "rotate")
		if !strings.Contains(text, "guest 8201") || strings.Contains(text, "guest 8200") || !strings.Contains(text, "the old key is still shown") || !strings.Contains(text, "hint: ") {
			t.Errorf("stderr %q", text)
		}
		if c, n := b.keys(t); c != current || n != next {
			t.Errorf("the keys are %s %s, want %s %s", c, n, current, next)
		}
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	b.command(t, "pin", "rotate")
	c, n := b.keys(t)
	if c != next || !slices.Equal(b.pinned(t, "8201"), []string{c, n}) {
		t.Errorf("after the repair: keys %s %s, mount %v", c, n, b.pinned(t, "8201"))
	}
	// A mount that is gone is named as well: no hypervisor says that the guest is.
	if err := os.RemoveAll(filepath.Dir(file)); err != nil {
		t.Fatal(err)
	}
	if text := b.fails(t, 5, "pin", "rotate"); !strings.Contains(text, "guest 8201: no config mount on this host") {
		t.Errorf("stderr %q", text)
	}
	b.command(t, "guest", "rotate", "8201")
	b.command(t, "pin", "rotate")
}

// Killed at any point, a rotation leaves guests that accept the host, and the
// same command finishes it.
func TestPinRotateKilled(t *testing.T) {
	t.Parallel()
	b := startDaemonProcess(t, "limits: {handshakes_per_second: 10000, connections_per_source: 1000}\n")
	for _, vmid := range []string{"8200", "8201", "8202"} {
		b.add(t, vmid)
	}
	start := time.Now()
	b.command(t, "pin", "rotate")
	whole := time.Since(start)
	for range 6 {
		boot := b.mounted(t, "8201")
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.Int64N(int64(whole)*5/4))) // SIGKILL
		_ = exec.CommandContext(ctx, program, "--config", b.config, "pin", "rotate").Run()
		cancel()
		shownTo := func(boot contract.Bootstrap) {
			t.Helper()
			if status, body := b.do(t, client(t, boot), http.MethodGet, contract.PathStorage, boot.LocalAPIToken.Reveal(), ""); status != http.StatusOK {
				t.Errorf("%d %s", status, body)
			}
		}
		shownTo(boot)
		shownTo(b.mounted(t, "8201"))
		current, next := b.keys(t)
		b.command(t, "pin", "rotate")
		c, n := b.keys(t)
		if c != current && c != next {
			t.Errorf("the run after a kill rotated twice: %s %s, then %s %s", current, next, c, n)
		}
		for _, vmid := range []string{"8200", "8201", "8202"} {
			if got := b.pinned(t, vmid); !slices.Equal(got, []string{c, n}) {
				t.Errorf("the mount of %s has the pins %v, want %s %s", vmid, got, c, n)
			}
		}
	}
}

// What a rotation starts from is read under its lock: the keys of before another
// one's end would be rotated once more.
func TestPinRotateReadsNothingBeforeItsLock(t *testing.T) {
	b := newBed(t)
	state := filepath.Join(b.dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	unlock, err := filelock.Claim(filepath.Join(state, "pin-rotate.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if text := b.fails(t, 5, "pin", "rotate"); !strings.Contains(text, "pin rotate: locked by pid") {
		t.Error(text)
	}
	if _, err := os.Lstat(filepath.Join(state, "tls")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the keys were read, and made: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
}

// Another command sweeps the directory of the keys under their lock: a rotation that
// writes there without it loses its unfinished file.
func TestPinRotateWritesUnderTheLockOfTheKeys(t *testing.T) {
	cfg := config.Config{StateDir: t.TempDir()}
	if err := os.Mkdir(tlsDir(cfg), 0o700); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockKeys(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	keys := &x509.Certificate{}
	r := rotator{cfg: cfg, host: host{identity: identity.Identity{Current: tls.Certificate{Leaf: keys}, Next: tls.Certificate{Leaf: keys}}}}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if to, err := r.begin(ctx); err == nil {
		t.Errorf("a rotation to %s started while another command had the lock", to)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.begin(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(tlsDir(cfg), rotationFile)); err != nil {
		t.Error(err)
	}
}
