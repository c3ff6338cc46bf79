package provision_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/config"
	"github.com/felhom/felhom-golden/agentd/internal/provision"
)

func TestTokenFileThatIsAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config.Config{
		HostID: "demo", HubURL: "https://hub.example", ControllerImage: "registry.example/app:v1",
		Registry: &config.Registry{Host: "registry.example", Username: "puller", TokenFile: pipe},
	}
	done := make(chan error, 1)
	go func() {
		_, err := provision.BootstrapFrom(cfg, provision.Host{Endpoint: "https://192.0.2.1:8443", Pins: pins})(vmid, provision.Asked{})
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "named pipe") {
			t.Errorf("error %v, want that it is a named pipe", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a named pipe holds the command up")
	}
}
