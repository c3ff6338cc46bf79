package guests_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// With the store's lock held by another process, first uses must neither hold
// threads nor wait for ever: the daemon died of 130 that waited.
func TestACrowdOfFirstUsesBesideAHeldLock(t *testing.T) {
	b := open(t)
	const crowd = 1500
	tok := mint(t, b.Store, 8200)
	f, err := os.OpenFile(filepath.Join(b.state, "guests.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	var asking sync.WaitGroup
	for range crowd {
		asking.Go(func() {
			if err := b.MarkUsed(t.Context(), tok); !errors.Is(err, guests.ErrBusy) {
				t.Errorf("error %v, want ErrBusy", err)
			}
		})
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) > 100 {
		t.Errorf("%d threads, %v", len(threads), err)
	}
	asking.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.MarkUsed(t.Context(), tok); err != nil {
		t.Errorf("with the lock free: %v", err)
	}
}

func TestACrowdUsesTokensFirst(t *testing.T) {
	b := open(t)
	tokens := make([]token.Token, 100)
	for i := range tokens {
		tokens[i] = mint(t, b.Store, 8200+i)
	}
	var using sync.WaitGroup
	for _, tok := range tokens {
		using.Go(func() {
			if m, err := b.Authenticate(tok); err != nil || !m.FirstUse {
				t.Errorf("guest %d: %+v, %v", tok.VMID(), m, err)
			}
			if err := b.MarkUsed(t.Context(), tok); err != nil {
				t.Error(err)
			}
		})
	}
	using.Wait()
	for _, tok := range tokens {
		if m, err := b.Authenticate(tok); err != nil || m.FirstUse {
			t.Errorf("guest %d, used: %+v, %v", tok.VMID(), m, err)
		}
	}
}

// A command that was killed before or after it wrote the mount leaves a mount
// whose token must be accepted, whichever of the two it is.
func TestNoKilledMintLeavesADeadToken(t *testing.T) {
	b := open(t)
	inMount := mint(t, b.Store, 8200)
	use(t, b.Store, inMount)
	for range 20 { // killed before the mount was written
		if _, err := b.Mint(t.Context(), 8200, 100000, overlap); err != nil {
			t.Fatal(err)
		}
	}
	assertToken(t, b.Store, inMount, "mount's", true)
	b.clock.advance(2 * overlap)
	assertToken(t, b.Store, inMount, "mount's, after the overlap,", true)
	written, err := b.Mint(t.Context(), 8200, 100000, overlap) // killed after the mount was written
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Mint(t.Context(), 8200, 100000, overlap); err != nil { // and once more before it
		t.Fatal(err)
	}
	assertToken(t, b.Store, written.Token, "mount's new", true)
	use(t, b.Store, written.Token)
	assertToken(t, b.Store, inMount, "replaced", false)
	last := mint(t, b.Store, 8200)
	use(t, b.Store, last)
	assertToken(t, b.Store, written.Token, "replaced", false)
}

func TestKilledWritesAreSwept(t *testing.T) {
	b := open(t)
	stale := filepath.Join(b.records, ".8200.json.ABCDEFGH.tmp")
	other := filepath.Join(b.records, ".8201.json.ABCDEFGH.tmp")
	for _, name := range []string{stale, other} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mint(t, b.Store, 8200)
	if _, err := os.Lstat(stale); !os.IsNotExist(err) {
		t.Errorf("the killed write's file stays: %v", err)
	}
	if _, err := os.Lstat(other); err != nil {
		t.Errorf("another guest's write was touched: %v", err)
	}
}

// A records' disk that does not answer, such as pmxcfs while it waits for its
// cluster, must hold neither requests nor threads.
func TestACrowdBesideADiskThatDoesNotAnswer(t *testing.T) {
	b := open(t)
	tok := mint(t, b.Store, 8200)
	assertToken(t, b.Store, tok, "minted", true)
	release := b.HoldLook()
	var asking sync.WaitGroup
	for range 500 {
		asking.Go(func() {
			if _, err := b.Authenticate(tok); !errors.Is(err, guests.ErrBusy) {
				t.Errorf("error %v, want ErrBusy", err)
			}
			if _, err := b.Recent(8200); !errors.Is(err, guests.ErrBusy) {
				t.Errorf("its record: error %v, want ErrBusy", err)
			}
		})
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || len(threads) > 100 {
		t.Errorf("%d threads, %v", len(threads), err)
	}
	asking.Wait()
	release()
	assertToken(t, b.Store, tok, "minted", true)
	if r, err := b.Recent(8200); err != nil || r.VMID != 8200 {
		t.Errorf("record of guest %d, %v, want 8200", r.VMID, err)
	}
	if _, err := b.Recent(8201); !errors.Is(err, guests.ErrNotFound) {
		t.Errorf("another guest: error %v, want ErrNotFound", err)
	}
}

// On a disk where each look at all records takes longer than a request waits,
// every guest got 503 for ever.
func TestASlowDiskGivesAnswers(t *testing.T) {
	t.Parallel()
	b := open(t)
	tok, other := mint(t, b.Store, 8200), mint(t, b.Store, 8201)
	assertToken(t, b.Store, tok, "minted", true)
	slowLook := func() {
		release := b.HoldLook()
		b.clock.advance(3 * time.Second)
		release()
	}
	slowLook()
	b.clock.advance(4 * time.Second) // to the guest's next try
	release := b.HoldLook()
	assertToken(t, b.Store, tok, "minted, on a slow disk,", true)

	// A change by this node counts at once, also while the disk is slow.
	if err := os.Remove(filepath.Join(b.records, "8200.json")); err != nil {
		t.Fatal(err)
	}
	assertBusy := func(tok token.Token, what string) {
		t.Helper()
		if _, err := b.Authenticate(tok); !errors.Is(err, guests.ErrBusy) {
			t.Errorf("%s: error %v, want ErrBusy", what, err)
		}
	}
	assertBusy(tok, "a removed guest")
	assertToken(t, b.Store, other, "the other guest's", true)
	release()
	assertToken(t, b.Store, tok, "removed guest's", false)

	slowLook()
	release = b.HoldLook()
	b.clock.advance(time.Minute)
	assertBusy(other, "records of more than a minute ago")
	release()
	assertToken(t, b.Store, other, "after that look, the other guest's", true)
}
