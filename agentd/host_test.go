package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/filelock"
)

// Each lock of the state directory that another process keeps ends a command
// with a clear "busy" (5) in bounded time, and nothing is changed.
func TestHeldLocksEndCommands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ lock, command, hint string }{
		{"tls.lock", "pin", "tls.lock"},
		{"tls.lock", "guest add 8200", "tls.lock"},
		{"guest-add.lock", "guest add 8200", "guest-add.lock"},
		{"guests.lock", "guest add 8200", "guests.lock"},
	} {
		t.Run(c.lock+" "+c.command, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			if err := os.MkdirAll(filepath.Join(b.dir, "state"), 0o700); err != nil {
				t.Fatal(err)
			}
			unlock, err := filelock.Wait(t.Context(), filepath.Join(b.dir, "state", c.lock))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unlock() }()
			var stdout, stderr bytes.Buffer
			ended := make(chan int, 1)
			go func() {
				ended <- run(t.Context(), append([]string{program, "--config", b.config}, strings.Fields(c.command)...), &stdout, &stderr)
			}()
			select {
			case code := <-ended:
				if code != 5 || stdout.Len() > 0 || !strings.Contains(stderr.String(), c.hint) || !strings.Contains(stderr.String(), "hint: ") {
					t.Errorf("exit %d, stdout %q, stderr %q; want 5 and a hint that names the lock", code, stdout.String(), stderr.String())
				}
			case <-time.After(patience):
				t.Fatal("it still waits")
			}
			if _, err := os.Lstat(filepath.Join(b.dir, "mounts/8200")); !os.IsNotExist(err) {
				t.Errorf("the mount was made: %v", err)
			}
		})
	}
}

// A revoked guest gets a new token by guest add, which says so.
func TestAddOfARevokedGuestSaysSo(t *testing.T) {
	b := newBed(t)
	b.add(t, "8200")
	b.command(t, "guest", "revoke", "8200")
	if out := b.command(t, "guest", "add", "8200"); !strings.Contains(out, "its tokens had been revoked") {
		t.Errorf("guest add printed %q", out)
	}
	b.command(t, "guest", "revoke", "8200")
	if out := b.command(t, "guest", "add", "8200", "--json"); !strings.Contains(out, `"was_revoked": true`) {
		t.Errorf("guest add --json printed %q", out)
	}
	b.command(t, "guest", "revoke", "8200")
	if out := b.command(t, "guest", "rotate", "8200"); !strings.Contains(out, "its tokens had been revoked") {
		t.Errorf("guest rotate printed %q", out)
	}
}
