package guests_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/powercut"
)

// fact is what must hold after a power cut from one operation on, and must not
// from another on; in between the change is under way.
type fact struct {
	name        string
	from        int // number of operations when it was acknowledged
	until, gone int // when its end was asked for, and acknowledged; 0: never
	holds       func(*guests.Store) (bool, error)
}

// The power is cut after each operation of a sequence of changes, in each of the
// ways in which a file system may lose what was not synced: the store opens, has
// each acknowledged change, and works.
func powerCut(t *testing.T) {
	c := powercut.NewDisk(t)
	at := c.Mount(t)
	records, state := filepath.Join(at, "guests"), filepath.Join(at, "state")
	clock := &clock{t: cutTime}
	s, err := guests.Open(records, state, clock.now)
	if err != nil {
		t.Fatal(err)
	}
	opened := c.Length()
	var facts []*fact
	valid := func(vmid int) (*fact, token.Token) {
		tok := mint(t, s, vmid)
		f := &fact{name: fmt.Sprintf("token %d of guest %d", len(facts), vmid), from: c.Length(), holds: func(s *guests.Store) (bool, error) {
			_, err := s.Authenticate(tok)
			if errors.Is(err, guests.ErrUnknownToken) {
				return false, nil
			}
			return err == nil, err
		}}
		facts = append(facts, f)
		return f, tok
	}
	ends := func(f *fact, by func()) {
		f.until = c.Length()
		by()
		f.gone = c.Length()
	}
	report := func(vmid int, run string, n int) {
		one := stepReport(run, n, contract.Steps()[n-1])
		send(t, s, sent{vmid, one})
		facts = append(facts, &fact{name: fmt.Sprintf("report %s/%d of guest %d", run, n, vmid), from: c.Length(), holds: func(s *guests.Store) (bool, error) {
			p, err := s.Progress(vmid)
			if errors.Is(err, guests.ErrNotFound) {
				return false, nil
			}
			return err == nil && p.Run == run && p.Sequence >= uint64(n), err
		}})
	}
	first, tok := valid(8200)
	use(t, s, tok)
	report(8200, "a", 1)
	_, second := valid(8200)
	ends(first, func() { use(t, s, second) })
	other, _ := valid(8201)
	report(8200, "a", 2)
	report(8201, "b", 1)
	ends(other, func() {
		if _, err := s.Revoke(t.Context(), 8201); err != nil {
			t.Fatal(err)
		}
	})
	valid(8201)
	if err := s.Close(); err != nil { // a checkpoint
		t.Fatal(err)
	}
	if s, err = guests.Open(records, state, clock.now); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Sweep(t.Context()), s.Recover()); err != nil {
		t.Fatal(err)
	}
	report(8201, "b", 2)
	third, _ := valid(8202)
	ends(third, func() {
		if err := s.Replace(t.Context(), 8202, nil); err != nil {
			t.Fatal(err)
		}
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cuts := 0
	log := c.Changes()
	for n := opened; n <= len(log); n++ {
		for _, end := range powercut.Ends() {
			cuts++
			dir := t.TempDir()
			powercut.After(log[:n], end).Write(t, dir)
			checkCut(t, dir, n, fmt.Sprintf("after %d of %d operations (%s), %s", n, len(log), powercut.LastOf(log[:n]), end), facts)
		}
	}
	if cuts < 200 {
		t.Errorf("%d cuts, want 200 or more: the operations were not noted", cuts)
	}
}

// checkCut opens what is left and compares it with what was acknowledged.
func checkCut(t *testing.T, dir string, n int, name string, facts []*fact) {
	t.Helper()
	clock := &clock{t: cutTime}
	s, err := guests.Open(filepath.Join(dir, "guests"), filepath.Join(dir, "state"), clock.now)
	if err != nil {
		t.Errorf("%s: open: %v", name, err)
		return
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}()
	if err := errors.Join(s.Sweep(t.Context()), s.Recover()); err != nil {
		t.Errorf("%s: recover: %v", name, err)
	}
	if _, broken, err := s.List(); err != nil || len(broken) > 0 {
		t.Errorf("%s: list: %v, broken %v", name, err, broken)
	}
	for _, f := range facts {
		if f.from > n || f.until != 0 && f.until < n && n < f.gone {
			continue // not acknowledged, or its end is under way
		}
		want := f.until == 0 || n <= f.until
		if got, err := f.holds(s); err != nil || got != want {
			t.Errorf("%s: %s: %v, %v, want %v", name, f.name, got, err, want)
		}
	}
}

// cutTime is when all of it happens: overlaps do not end meanwhile.
var cutTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
