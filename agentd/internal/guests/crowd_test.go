package guests_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
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

func crowdReport(sequence int, step contract.Step) contract.Report {
	return contract.Report{Run: "a", Sequence: uint64(sequence), Time: time.Unix(1e9, 0).UTC(), Step: step, State: "done"}
}

// What was acknowledged is there after a loss of power, which keeps what was
// synced: the log, and no file that was replaced since.
func TestAcknowledgedReportsSurviveALossOfPower(t *testing.T) {
	b := open(t)
	const crowd = 100
	steps := contract.Steps()
	var sending sync.WaitGroup
	for i := range crowd {
		mint(t, b.Store, 8200+i)
		sending.Go(func() {
			for n, step := range steps {
				if isNews, err := b.AddReport(t.Context(), 8200+i, crowdReport(n+1, step)); err != nil || !isNews {
					t.Errorf("guest %d: news %v, %v", 8200+i, isNews, err)
				}
			}
		})
	}
	sending.Wait()
	files, err := filepath.Glob(filepath.Join(b.state, "reports/*.json"))
	if err != nil || len(files) != crowd {
		t.Fatalf("%d files, %v, want %d", len(files), err, crowd)
	}
	for i, name := range files { // as the power may leave them
		if i%2 == 0 {
			err = os.Remove(name)
		} else {
			err = os.Truncate(name, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Replace(t.Context(), 8200, nil); err != nil { // removed: its reports do not come back
		t.Fatal(err)
	}
	next := b.another(t)
	if err := next.Recover(); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < crowd; i++ {
		p, err := next.Progress(8200 + i)
		if err != nil || len(p.Steps) != len(steps) || p.VMID != 8200+i {
			t.Errorf("guest %d: %d steps, %v, want %d", 8200+i, len(p.Steps), err, len(steps))
		}
		if isNews, err := next.AddReport(t.Context(), 8200+i, crowdReport(1, steps[0])); err != nil || isNews {
			t.Errorf("guest %d, repeated: news %v, %v, want it acknowledged", 8200+i, isNews, err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(b.state, "reports/8200.json")); err == nil && len(data) > 0 && strings.Contains(string(data), "mount") {
		t.Error("the reports of a removed guest came back")
	}
}

// What was put on disk before the log began is in no line of it: the file that a
// loss of power damages had both.
func TestReportsBeforeTheLogSurviveALossOfPower(t *testing.T) {
	b := open(t)
	mint(t, b.Store, 8200)
	steps := contract.Steps()
	send := func(s *guests.Store, n int) {
		t.Helper()
		if isNews, err := s.AddReport(t.Context(), 8200, crowdReport(n, steps[n-1])); err != nil || !isNews {
			t.Fatalf("report %d: news %v, %v", n, isNews, err)
		}
	}
	first, err := guests.Open(b.records, b.state, b.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	send(first, 1)
	send(first, 2)
	if err := first.Close(); err != nil { // all is in the file, and the log empty
		t.Fatal(err)
	}
	second := b.another(t)
	send(second, 3)
	send(second, 4)
	if err := os.Truncate(filepath.Join(b.state, "reports/8200.json"), 0); err != nil {
		t.Fatal(err)
	}
	third := b.another(t)
	if err := third.Recover(); err != nil {
		t.Fatal(err)
	}
	p, err := third.Progress(8200)
	if err != nil || len(p.Steps) != 4 {
		t.Errorf("%d steps, %v, want 4", len(p.Steps), err)
	}
}

// BenchmarkReports has 1,000 guests that send 14 reports each, all at once.
func BenchmarkReports(b *testing.B) {
	for b.Loop() {
		state := b.TempDir()
		s, err := guests.Open(filepath.Join(state, "guests"), state, time.Now)
		if err != nil {
			b.Fatal(err)
		}
		var sending sync.WaitGroup
		for i := range 1000 {
			sending.Go(func() {
				for n := range 14 {
					if _, err := s.AddReport(b.Context(), 8200+i, crowdReport(n+1, contract.Steps()[n%7])); err != nil {
						b.Error(err)
					}
				}
			})
		}
		sending.Wait()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
