package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/provision"
	"github.com/felhom/felhom-golden/internal/soak"
)

// Wherever a command that gives a guest a token is killed, the token in the mount
// is a valid one, and the same command converges and leaves nothing over.
func TestKilledTokenCommandsAtRandom(t *testing.T) {
	for _, command := range []string{"add", "rotate"} {
		t.Run(command, func(t *testing.T) {
			random, rounds := soak.Start(t, 12)
			b := startDaemon(t)
			b.add(t, "8200")
			started := time.Now()
			b.command(t, "guest", command, "8200")
			full := 2 * time.Since(started) // the program has to start as well
			for i := range rounds {
				what := soak.Kill(t, exec.CommandContext(t.Context(), program, "--config", b.config, "guest", command, "8200"), random, full)
				b.assertTokenWorks(t, fmt.Sprintf("round %d, %s", i, what))
			}
			b.command(t, "guest", command, "8200")
			b.assertTokenWorks(t, "after the last command")
			for _, pattern := range []string{"mounts/8200/.*.tmp", "state/guests/.*.tmp", "state/provision/*.json"} {
				if left, err := filepath.Glob(filepath.Join(b.dir, pattern)); err != nil || len(left) > 0 {
					t.Errorf("killed writes left %v, %v", left, err)
				}
			}
		})
	}
}

// assertTokenWorks asks the daemon with the token in the mount of guest 8200.
func (b *bed) assertTokenWorks(t *testing.T, when string) {
	t.Helper()
	boot := b.mounted(t, "8200")
	c := client(t, boot)
	defer c.CloseIdleConnections()
	if status, body := b.do(t, c, "GET", "/guest", boot.LocalAPIToken.Reveal(), ""); status != 200 {
		t.Fatalf("%s: %d %s", when, status, body)
	}
}

func TestKilledCommandsAreSwept(t *testing.T) {
	b := startDaemon(t)
	b.add(t, "8200")
	cfg, err := loadConfig(b.config)
	if err != nil {
		t.Fatal(err)
	}
	stale := []string{
		"state/tls/.next.key.ABCDEFGH.tmp", "state/reports/.8200.json.ABCDEFGH.tmp", "state/guests/.8299.json.ABCDEFGH.tmp",
		"state/provision/.8201.json.ABCDEFGH.tmp", "state/provision/8202.lock", "state/audit/.audit.head.ABCDEFGH.tmp", "mounts/8200/.bootstrap.json.ABCDEFGH.tmp",
	}
	keep := []string{"mounts/8200/controller.yaml.tmpl", "mounts/8200/.own.tmp", "state/provision/8203.json"}
	for _, name := range append(append([]string{}, stale...), keep...) {
		name = filepath.Join(b.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unlock, err := provision.Claim(t.Context(), cfg.StateDir, 8204) // a command that is at work
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unlock() }()
	store := b.store(t)
	if _, err := openHost(t.Context(), cfg, time.Now); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.Sweep(t.Context()), provision.Sweep(t.Context(), cfg.StateDir, mountsOf(cfg))); err != nil {
		t.Fatal(err)
	}
	trail, err := openTrail(cfg, newLogger(io.Discard, logOptions{}), newCounts(cfg, host{}, store))
	if err != nil {
		t.Fatal(err)
	}
	if err := trail.close(); err != nil {
		t.Error(err)
	}
	for _, name := range stale {
		if _, err := os.Lstat(filepath.Join(b.dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s stays: %v", name, err)
		}
	}
	for _, name := range append(keep, "state/provision/8204.lock") {
		if _, err := os.Lstat(filepath.Join(b.dir, name)); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
}

// A command that has nothing to change leaves no temporary file of the audit log either.
func TestAKilledAuditIsSweptByAnyCommand(t *testing.T) {
	b := newBed(t)
	b.command(t, "guest", "add", "8200")
	stale := filepath.Join(b.dir, "state/audit/.audit.head.ABCDEFGH.tmp")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.fails(t, 3, "guest", "remove", "8299")
	if _, err := os.Lstat(stale); !os.IsNotExist(err) {
		t.Errorf("%s stays: %v", stale, err)
	}
}

func TestOddFilesEndNoCommand(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan string, 1)
	go func() {
		var stderr bytes.Buffer
		run(t.Context(), []string{program, "--config", pipe, "guest", "list"}, io.Discard, &stderr)
		done <- stderr.String()
	}()
	select {
	case text := <-done:
		if !strings.Contains(text, "named pipe") {
			t.Errorf("told %q, want that it is a named pipe", text)
		}
	case <-time.After(time.Minute):
		t.Fatal("a named pipe holds the command up")
	}
}

func TestJSONHoldsNothingThatActsOnATerminal(t *testing.T) {
	var out bytes.Buffer
	in := "a\u202eb\u2066c\u007fd\u009be\u00a0f\u200bg\U000e0001h\u2028<é😀"
	if err := printJSON(&out, map[string]string{"x": in}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\u202e\u2066\u007f\u009b\u00a0\u200b\U000e0001\u2028") || !strings.Contains(out.String(), "é😀") {
		t.Errorf("printed %q", out.String())
	}
}
