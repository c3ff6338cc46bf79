package guests_test

import (
	"context"
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

const overlap = 10 * time.Minute

// clock is a time that only the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

type bed struct {
	*guests.Store
	records, state string
	clock          *clock
}

func open(t *testing.T) bed {
	t.Helper()
	state := t.TempDir()
	b := bed{records: filepath.Join(state, "guests"), state: state, clock: &clock{t: time.Now()}}
	b.Store = b.another(t)
	return b
}

// another opens the same directories as a second process would.
func (b bed) another(t *testing.T) *guests.Store {
	t.Helper()
	s, err := guests.Open(b.records, b.state, b.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mint(t *testing.T, s *guests.Store, vmid int) token.Token {
	t.Helper()
	m, err := s.Mint(t.Context(), vmid, 100000, overlap)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return m.Token
}

func assertToken(t *testing.T, s *guests.Store, tok token.Token, name string, want bool) {
	t.Helper()
	m, err := s.Authenticate(tok)
	if want && (err != nil || m.VMID != tok.VMID()) {
		t.Errorf("%s token: guest %d, %v, want %d", name, m.VMID, err, tok.VMID())
	}
	if !want && !errors.Is(err, guests.ErrUnknownToken) {
		t.Errorf("%s token: guest %d, %v, want ErrUnknownToken", name, m.VMID, err)
	}
}

func use(t *testing.T, s *guests.Store, tok token.Token) {
	t.Helper()
	m, err := s.Authenticate(tok)
	if err != nil {
		t.Fatal(err)
	}
	if m.FirstUse {
		if err := s.MarkUsed(t.Context(), tok); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRotation(t *testing.T) {
	t.Run("old one ends with the first use of the new", func(t *testing.T) {
		b := open(t)
		first := mint(t, b.Store, 8200)
		use(t, b.Store, first)
		second := mint(t, b.Store, 8200)
		assertToken(t, b.Store, first, "first", true)
		assertToken(t, b.Store, second, "second", true)
		use(t, b.Store, second)
		assertToken(t, b.Store, first, "first", false)
		assertToken(t, b.another(t), first, "first, after a restart,", false)
		assertToken(t, b.Store, second, "second", true)
	})
	t.Run("old one ends with the overlap", func(t *testing.T) {
		b := open(t)
		first := mint(t, b.Store, 8200)
		second := mint(t, b.Store, 8200)
		b.clock.advance(overlap - time.Second)
		assertToken(t, b.Store, first, "first", true)
		b.clock.advance(2 * time.Second)
		assertToken(t, b.Store, first, "first", false)
		assertToken(t, b.Store, second, "second", true)
	})
	t.Run("minting twice keeps the one in use", func(t *testing.T) {
		b := open(t)
		first := mint(t, b.Store, 8200)
		use(t, b.Store, first)
		second := mint(t, b.Store, 8200)
		third := mint(t, b.Store, 8200)
		assertToken(t, b.Store, first, "first", true)
		assertToken(t, b.Store, second, "second", false)
		assertToken(t, b.Store, third, "third", true)
	})
	t.Run("use of the old one is not a first use", func(t *testing.T) {
		b := open(t)
		first := mint(t, b.Store, 8200)
		mint(t, b.Store, 8200)
		if m, err := b.Authenticate(first); err != nil || m.FirstUse || !m.Previous {
			t.Errorf("got %+v, %v, want the previous token", m, err)
		}
	})
}

func TestChangesOfAnotherProcessAreSeenAtOnce(t *testing.T) {
	state := t.TempDir()
	openReal := func() *guests.Store { // a real clock: with one that does not move nothing is ever kept
		s, err := guests.Open(filepath.Join(state, "guests"), state, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	serving, adding := openReal(), openReal()
	// Many rounds, so that changes fall into one tick of the directory's clock.
	for range 50 {
		tok := mint(t, adding, 8200)
		assertToken(t, serving, tok, "just minted", true)
	}
	tok := mint(t, adding, 8201)
	assertToken(t, serving, tok, "other guest's", true)
	if err := adding.Replace(t.Context(), 8201, nil); err != nil {
		t.Fatal(err)
	}
	assertToken(t, serving, tok, "removed guest's", false)
}

func TestAuthenticateRefuses(t *testing.T) {
	b := open(t)
	mint(t, b.Store, 8200)
	assertToken(t, b.Store, token.Mint(8200), "wrong", false)
	assertToken(t, b.Store, token.Mint(8201), "unknown guest's", false)
}

func TestOneBrokenRecordStopsNoOtherGuest(t *testing.T) {
	b := open(t)
	good, bad := mint(t, b.Store, 8200), mint(t, b.Store, 8201)
	cases := []struct {
		name  string
		place func(file string) error
	}{
		{"half a file", func(f string) error { return os.Truncate(f, 30) }},
		{"another guest's record", func(f string) error {
			data, err := os.ReadFile(filepath.Join(b.records, "8200.json"))
			if err != nil {
				return err
			}
			return os.WriteFile(f, data, 0o600)
		}},
		{"future version", func(f string) error { return os.WriteFile(f, []byte(`{"version":2,"vmid":8201}`), 0o600) }},
		{"huge", func(f string) error { return os.WriteFile(f, make([]byte, 1<<20), 0o600) }},
		{"link", func(f string) error { return errors.Join(os.Remove(f), os.Symlink("8200.json", f)) }},
		{"pipe", func(f string) error { return errors.Join(os.Remove(f), unix.Mkfifo(f, 0o600)) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(b.records, "8201.json")
			if err := c.place(file); err != nil {
				t.Fatal(err)
			}
			b.clock.advance(2 * time.Second)
			assertToken(t, b.Store, good, "good", true)
			if _, err := b.Authenticate(bad); err == nil || errors.Is(err, guests.ErrUnknownToken) {
				t.Errorf("broken guest's token: %v, want an error that does not blame the token", err)
			}
			records, broken, err := b.List()
			if err != nil || len(records) != 1 || broken["8201.json"] == nil {
				t.Errorf("list gave %d records, broken %v, %v", len(records), broken, err)
			}
		})
	}
}

// A lease makes each open of the file fail, and leaves the file as it is: so
// do a process without descriptors and a file system with a fault.
func TestARecordThatCouldNotBeReadIsTriedAgain(t *testing.T) {
	b := open(t)
	tok := mint(t, b.Store, 8200)
	f, err := os.Open(filepath.Join(b.records, "8200.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Fatal(err)
	}
	next := b.another(t)
	if _, err := next.Authenticate(tok); err == nil || errors.Is(err, guests.ErrUnknownToken) {
		t.Errorf("with a record that cannot be read: %v, want an error that does not blame the token", err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK); err != nil {
		t.Fatal(err)
	}
	b.clock.advance(2 * time.Second)
	assertToken(t, next, tok, "good", true)
}

func TestStoreHoldsNoToken(t *testing.T) {
	b := open(t)
	tokens := []token.Token{mint(t, b.Store, 8200), mint(t, b.Store, 8200), mint(t, b.Store, 8201)}
	use(t, b.Store, tokens[2])
	seen := 0
	err := filepath.WalkDir(b.state, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", path, info.Mode())
		}
		seen++
		for _, tok := range tokens {
			if strings.Contains(string(data), tok.Reveal()[len("fgt_8200_"):]) {
				t.Errorf("%s holds a token", path)
			}
		}
		return nil
	})
	if err != nil || seen < 3 {
		t.Errorf("%d files looked at, %v", seen, err)
	}
}

func TestReplaceUndoesAMint(t *testing.T) {
	b := open(t)
	first := mint(t, b.Store, 8200)
	use(t, b.Store, first)
	m, err := b.Mint(t.Context(), 8200, 100000, overlap)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Replace(t.Context(), 8200, m.Before); err != nil {
		t.Fatal(err)
	}
	assertToken(t, b.Store, first, "first", true)
	assertToken(t, b.Store, m.Token, "undone", false)
}

func TestUpdateWaitsForTheLockNoLongerThanItsContext(t *testing.T) {
	b := open(t)
	f, err := os.OpenFile(filepath.Join(b.state, "guests.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := b.Mint(ctx, 8200, 100000, overlap); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want DeadlineExceeded", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	mint(t, b.Store, 8200)
}

func TestConcurrentMintsLoseNothing(t *testing.T) {
	b := open(t)
	var wg sync.WaitGroup
	last := make([]token.Token, 8)
	for i := range last {
		s := b.another(t)
		wg.Go(func() {
			for range 10 {
				m, err := s.Mint(t.Context(), 8200+i%2, 100000, overlap)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Confirm(t.Context(), m); err != nil {
					t.Error(err)
					return
				}
				last[i] = m.Token
			}
		})
	}
	wg.Wait()
	valid := 0
	for _, tok := range last {
		if _, err := b.Authenticate(tok); err == nil {
			valid++
		}
	}
	if valid < 2 {
		t.Errorf("%d of the last tokens are valid, want at least the last one of each guest", valid)
	}
}

func TestReports(t *testing.T) {
	report := func(run string, sequence uint64, step contract.Step, message string) contract.Report {
		return contract.Report{Run: run, Sequence: sequence, Step: step, State: "done", Message: message}
	}
	steps := []struct {
		name     string
		report   contract.Report
		wantNews bool
		wantLast string
	}{
		{"first", report("a", 1, "mount", "m1"), true, "m1"},
		{"the same again", report("a", 1, "mount", "m1"), false, "m1"},
		{"next step", report("a", 3, "engine", "e3"), true, "e3"},
		{"late one of another step", report("a", 2, "channel", "c2"), true, "e3"},
		{"older one of the same step", report("a", 2, "engine", "e2"), false, "e3"},
		{"newer one of the same step", report("a", 4, "engine", "e4"), true, "e4"},
		{"next run begins at one", report("b", 1, "mount", "m1b"), true, "m1b"},
		{"late one of the run before", report("a", 9, "ready", "r9"), false, "m1b"},
	}
	b := open(t)
	if _, err := b.Progress(8200); !errors.Is(err, guests.ErrNotFound) {
		t.Errorf("error %v, want that there is none", err)
	}
	for _, s := range steps {
		isNews, err := b.AddReport(t.Context(), 8200, s.report)
		if err != nil || isNews != s.wantNews {
			t.Errorf("%s: news %v, %v, want %v", s.name, isNews, err, s.wantNews)
		}
		p, err := b.Progress(8200)
		if err != nil {
			t.Fatal(err)
		}
		if last, _ := p.Last(); last.Report.Message != s.wantLast {
			t.Errorf("%s: last is %q, want %q", s.name, last.Report.Message, s.wantLast)
		}
	}
}

func TestReportsStayBounded(t *testing.T) {
	b := open(t)
	for i := range 95 {
		r := contract.Report{Run: "a", Sequence: uint64(i + 1), Step: contract.Step(strings.Repeat("x", i+1)), State: "done", Message: strings.Repeat("\x01", 2<<10)}
		if _, err := b.AddReport(t.Context(), 8200, r); err != nil {
			t.Fatal(err)
		}
	}
	p, err := b.Progress(8200)
	if err != nil || len(p.Steps) != 16 || p.Sequence != 95 {
		t.Errorf("%d steps up to %d, %v, want the last 16 of 95", len(p.Steps), p.Sequence, err)
	}
}

func TestDamagedReportsDoNotKeepNewOnesOut(t *testing.T) {
	b := open(t)
	if err := os.WriteFile(filepath.Join(b.state, "reports/8200.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if isNews, err := b.AddReport(t.Context(), 8200, contract.Report{Run: "a", Sequence: 1, Step: "mount"}); err != nil || !isNews {
		t.Errorf("news %v, %v, want the report taken", isNews, err)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	state := b.TempDir()
	s, err := guests.Open(filepath.Join(state, "guests"), state, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	var last guests.Minted
	for i := range 200 {
		if last, err = s.Mint(b.Context(), 8200+i, 100000, overlap); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Authenticate(last.Token); err != nil {
			b.Fatal(err)
		}
	}
}
