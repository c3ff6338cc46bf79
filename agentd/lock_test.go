package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Only a lock that another process holds is another daemon.
func TestServeLockThatCannotBeMade(t *testing.T) {
	b := newBed(t)
	if err := os.MkdirAll(filepath.Join(b.dir, "state/serve.lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	code := run(t.Context(), []string{program, "--config", b.config, "serve"}, io.Discard, &stderr)
	if text := stderr.String(); code == 0 || !strings.Contains(text, "serve.lock") || strings.Contains(text, "another felhom-agentd") {
		t.Errorf("exit code %d: %s; want the cause, and not that another daemon serves", code, text)
	}
}
