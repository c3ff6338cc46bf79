// Package cachedir owns folders of a cache that several builds fill at the same
// time, each under temporary names first: it takes away what killed builds left
// there, and nothing of one that lives.
package cachedir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/felhom/felhom-golden/internal/filelock"
)

// Temporary begins the name of whatever is not finished.
const Temporary = ".tmp-"

// Hold makes dir when it is not there and holds it for the caller, who may
// write temporary files until release. When nobody else holds it, what is
// temporary was left by killed builds, and goes.
func Hold(dir string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	switch err = filelock.Try(f, filelock.Exclusive); {
	case err == nil:
		err = sweep(dir)
	case errors.Is(err, filelock.ErrHeld):
		err = nil
	}
	if err == nil {
		// Waits for nothing longer than a sweep.
		err = filelock.TakeWhenFree(context.Background(), f, filelock.Shared, nil)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open cache: %w", err), filelock.Close(f))
	}
	return func() error { return filelock.Close(f) }, nil
}

func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), Temporary) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
