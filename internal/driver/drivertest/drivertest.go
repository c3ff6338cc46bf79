// Package drivertest has the conformance suite that every implementation of the
// driver interfaces must pass ([RunStorage], [RunHypervisor]), and in-memory
// fakes that pass it too, for tests in which a real one cannot be made to fail.
// Only tests import it.
package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/felhom/felhom-golden/internal/driver"
)

// Bed is one implementation under test.
type Bed struct {
	Storage driver.Storage
	// AddGuest makes guest vmid exist with a root file system and mount points
	// at the given paths.
	AddGuest func(t *testing.T, vmid int, mounts ...string)
}

// RunStorage runs the suite of [driver.Storage]; bed is called for each test.
func RunStorage(t *testing.T, bed func(t *testing.T) Bed) {
	t.Run("unknown guest is ErrNotFound", func(t *testing.T) {
		b := bed(t)
		b.AddGuest(t, 8200)
		got, err := b.Storage.Storage(t.Context(), 8201)
		if !errors.Is(err, driver.ErrNotFound) || got != nil {
			t.Errorf("got %v, %v, want ErrNotFound alone", got, err)
		}
		if err != nil && !strings.Contains(err.Error(), "8201") {
			t.Errorf("error %q does not name the guest", err)
		}
	})
	t.Run("root first, then mounts by path", func(t *testing.T) {
		b := bed(t)
		b.AddGuest(t, 8200, "/srv", "/mnt/with-hyphen", "/mnt/data")
		got, err := b.Storage.Storage(t.Context(), 8200)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, u := range got {
			paths = append(paths, u.Path)
			if u.Size <= 0 || u.Used < 0 || u.Available < 0 || u.Used > u.Size || u.Available > u.Size {
				t.Errorf("%s: size %d, used %d, available %d make no sense", u.Path, u.Size, u.Used, u.Available)
			}
		}
		if want := []string{"/", "/mnt/data", "/mnt/with-hyphen", "/srv"}; !slices.Equal(paths, want) {
			t.Errorf("paths %v, want %v", paths, want)
		}
	})
	t.Run("guest without mounts", func(t *testing.T) {
		b := bed(t)
		b.AddGuest(t, 8200)
		if got, err := b.Storage.Storage(t.Context(), 8200); err != nil || len(got) != 1 || got[0].Path != "/" {
			t.Errorf("got %v, %v, want the root file system alone", got, err)
		}
	})
	t.Run("done context", func(t *testing.T) {
		b := bed(t)
		b.AddGuest(t, 8200)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Storage.Storage(ctx, 8200); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
	})
}

// Fake is a [driver.Storage] in memory. The zero Fake knows no guest.
type Fake struct {
	mu     sync.Mutex
	guests map[int][]driver.Usage
	err    error
}

// Set makes guest vmid exist with these file systems; the root comes first.
func (f *Fake) Set(vmid int, usage ...driver.Usage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.guests == nil {
		f.guests = map[int][]driver.Usage{}
	}
	usage = slices.Clone(usage)
	slices.SortFunc(usage, func(a, b driver.Usage) int { return strings.Compare(a.Path, b.Path) })
	f.guests[vmid] = usage
}

// Break makes every later call fail with err; nil heals.
func (f *Fake) Break(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// Storage implements [driver.Storage].
func (f *Fake) Storage(ctx context.Context, vmid int) ([]driver.Usage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(context.Cause(ctx), f.err); err != nil {
		return nil, fmt.Errorf("guest %d: %w", vmid, err)
	}
	usage, ok := f.guests[vmid]
	if !ok {
		return nil, driver.NoGuest(vmid)
	}
	return slices.Clone(usage), nil
}
