// Package gueststest opens stores for tests. Only tests import it.
package gueststest

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
)

// Open returns a store in a new state directory, and that directory. The store is
// closed at the end of the test.
func Open(t testing.TB) (store *guests.Store, dir string) {
	t.Helper()
	dir = t.TempDir()
	store, err := guests.Open(filepath.Join(dir, "guests"), dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store, dir
}
