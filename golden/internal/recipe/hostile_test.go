package recipe_test

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/golden/internal/recipe"
	"github.com/felhom/felhom-golden/internal/regular"
)

// A named pipe in place of the recipe must not make the build wait.
func TestReadOfNamedPipeIsRefused(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "golden.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := recipe.Read(pipe); done <- err }()
	select {
	case err := <-done:
		if !errors.Is(err, regular.ErrNotRegular) {
			t.Errorf("%v, want ErrNotRegular", err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits")
	}
}
