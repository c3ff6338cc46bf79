package guests_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/agentd/internal/token"
	"github.com/felhom/felhom-golden/internal/contract"
)

// disk is what a file system has after some of its operations and a loss of
// power.
type disk struct {
	files map[string]*content // by path
	dirs  map[string]bool
}

type content struct {
	data, synced []byte
	isSynced     bool
}

// The three ends of a loss of power that a file system may come to.
const (
	allKept     = "everything is kept"
	dataLost    = "data that was not synced is lost, names are kept"
	changesLost = "all that was not synced is lost"
)

// after replays operations and cuts the power.
func after(log []operation, end string) disk {
	now := disk{map[string]*content{}, map[string]bool{}}
	durable := disk{map[string]*content{}, map[string]bool{}}
	for _, o := range log {
		f := now.files[o.path]
		switch o.kind {
		case "create":
			now.files[o.path] = &content{}
		case "write":
			if missing := int(o.offset) + len(o.data) - len(f.data); missing > 0 {
				f.data = append(f.data, make([]byte, missing)...)
			}
			f.data = slices.Clone(f.data)
			copy(f.data[o.offset:], o.data)
		case "truncate":
			f.data = slices.Clone(f.data[:min(int(o.offset), len(f.data))])
		case "sync":
			if f != nil {
				f.synced, f.isSynced = slices.Clone(f.data), true
			}
		case "rename":
			now.files[o.to] = f
			delete(now.files, o.path)
		case "unlink":
			delete(now.files, o.path)
		case "mkdir":
			now.dirs[o.path] = true
		case "syncdir":
			// The names in that directory, and that alone.
			for path := range durable.files {
				if filepath.Dir(path) == o.path && now.files[path] == nil {
					delete(durable.files, path)
				}
			}
			for path, f := range now.files {
				if filepath.Dir(path) == o.path {
					durable.files[path] = f
				}
			}
		}
	}
	durable.dirs = now.dirs // made when the store is opened first
	switch end {
	case allKept:
		return now
	case dataLost:
		return disk{lost(now.files), now.dirs}
	}
	return disk{lost(durable.files), durable.dirs}
}

// lost returns the files with what of them was synced.
func lost(files map[string]*content) map[string]*content {
	out := map[string]*content{}
	for path, f := range files {
		out[path] = &content{data: f.synced}
	}
	return out
}

func (d disk) write(t *testing.T, at string) {
	t.Helper()
	for _, dir := range slices.Sorted(maps.Keys(d.dirs)) {
		if err := os.MkdirAll(filepath.Join(at, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for path, f := range d.files {
		if err := os.WriteFile(filepath.Join(at, path), f.data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

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
	needFUSE(t)
	c := &cluster{dir: t.TempDir(), isDisk: true}
	at := c.mount(t)
	records, state := filepath.Join(at, "guests"), filepath.Join(at, "state")
	clock := &clock{t: cutTime}
	s, err := guests.Open(records, state, clock.now)
	if err != nil {
		t.Fatal(err)
	}
	opened := c.length()
	var facts []*fact
	valid := func(vmid int) (*fact, token.Token) {
		tok := mint(t, s, vmid)
		f := &fact{name: fmt.Sprintf("token %d of guest %d", len(facts), vmid), from: c.length(), holds: func(s *guests.Store) (bool, error) {
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
		f.until = c.length()
		by()
		f.gone = c.length()
	}
	report := func(vmid int, run string, n int) {
		one := stepReport(run, n, contract.Steps()[n-1])
		send(t, s, sent{vmid, one})
		facts = append(facts, &fact{name: fmt.Sprintf("report %s/%d of guest %d", run, n, vmid), from: c.length(), holds: func(s *guests.Store) (bool, error) {
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
	log := c.changes()
	for n := opened; n <= len(log); n++ {
		for _, end := range []string{allKept, dataLost, changesLost} {
			cuts++
			dir := t.TempDir()
			after(log[:n], end).write(t, dir)
			checkCut(t, dir, n, fmt.Sprintf("after %d of %d operations (%s), %s", n, len(log), lastOf(log[:n]), end), facts)
		}
	}
	if cuts < 200 {
		t.Errorf("%d cuts, want 200 or more: the operations were not noted", cuts)
	}
}

func lastOf(log []operation) string {
	if len(log) == 0 {
		return ""
	}
	o := log[len(log)-1]
	return strings.TrimSpace(o.kind + " " + o.path + " " + o.to)
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
