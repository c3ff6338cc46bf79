package guests_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/isolate"
)

// A disk that became read-only after an error refuses changes, with the kind of
// a fault that can end, and tokens keep working.
func TestReadOnlyStore(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	at := filepath.Join(t.TempDir(), "at")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(at, at, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("bind mount: %v; this test needs root", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	b := openOn(t, at)
	tok := mint(t, b.Store, 8200)
	use(t, b.Store, tok)
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s := b.another(t)
	assertToken(t, s, tok, "read-only", true)
	_, mintErr := s.Mint(t.Context(), 8200, 100000, overlap)
	_, revokeErr := s.Revoke(t.Context(), 8200)
	for what, err := range map[string]error{"mint": mintErr, "revoke": revokeErr, "remove": s.Replace(t.Context(), 8200, nil)} {
		if !errors.Is(err, guests.ErrReadOnly) || fault.Of(err) != fault.NotReady || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, want ErrReadOnly with a hint", what, err)
		}
	}
	assertToken(t, s, tok, "read-only", true)
}
