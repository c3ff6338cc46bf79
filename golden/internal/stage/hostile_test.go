package stage

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/regular"
)

// --bootstrap may name what another user has made: no open waits.
func TestProgramThatIsANamedPipeIsRefused(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "felhom-controller-bootstrap")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- CheckBinary(pipe, "amd64") }()
	select {
	case err := <-done:
		if !errors.Is(err, regular.ErrNotRegular) || fault.Of(err) != fault.Invalid {
			t.Errorf("%v, want refused: not a regular file", err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits")
	}
}
