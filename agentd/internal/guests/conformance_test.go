package guests_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/powercut"
)

// openOn opens a store whose records are below dir, as one node of a cluster.
func openOn(t *testing.T, dir string) bed {
	t.Helper()
	b := bed{records: filepath.Join(dir, "priv/felhom/guests"), state: t.TempDir(), clock: &clock{t: time.Now()}}
	b.Store = b.another(t)
	return b
}

// The store does the same on a local disk and on the cluster's file system.
func TestStoreConformance(t *testing.T) {
	for name, place := range map[string]func(*testing.T) string{
		"local disk": func(t *testing.T) string { return t.TempDir() },
		"pmxcfs":     func(t *testing.T) string { return powercut.New(t).Mount(t) },
	} {
		t.Run(name, func(t *testing.T) {
			for what, test := range conformance {
				t.Run(what, func(t *testing.T) {
					b := openOn(t, place(t))
					test(t, b)
					entries, err := os.ReadDir(b.records)
					if err != nil {
						t.Fatal(err)
					}
					for _, e := range entries {
						if info, err := e.Info(); err != nil || info.Mode() != 0o600 || strings.HasSuffix(e.Name(), ".tmp") {
							t.Errorf("%s is left with mode %v, %v", e.Name(), info.Mode(), err)
						}
					}
				})
			}
		})
	}
}

var conformance = map[string]func(*testing.T, bed){
	"tokens": func(t *testing.T, b bed) {
		first := mint(t, b.Store, 8200)
		use(t, b.Store, first)
		second := mint(t, b.Store, 8200)
		assertToken(t, b.Store, first, "first", true)
		use(t, b.Store, second)
		assertToken(t, b.Store, first, "first", false)
		assertToken(t, b.another(t), second, "second, in another process", true)
		if n, err := b.Revoke(t.Context(), 8200); err != nil || n != 1 {
			t.Errorf("revoke: %d, %v", n, err)
		}
		assertToken(t, b.Store, second, "revoked", false)
	},
	"undo": func(t *testing.T, b bed) {
		first := mint(t, b.Store, 8200)
		minted, err := b.Mint(t.Context(), 8200, 100000, overlap)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Replace(t.Context(), 8200, minted.Before); err != nil {
			t.Fatal(err)
		}
		assertToken(t, b.Store, first, "first", true)
		assertToken(t, b.Store, minted.Token, "undone", false)
		if err := b.Replace(t.Context(), 8200, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Get(8200); !errors.Is(err, guests.ErrNotFound) {
			t.Errorf("removed: %v", err)
		}
	},
	"at once": func(t *testing.T, b bed) {
		other := b.another(t)
		var all sync.WaitGroup
		for i, s := range []*guests.Store{b.Store, other} {
			for range 4 {
				all.Go(func() {
					if _, err := s.Mint(context.WithoutCancel(t.Context()), 8200, 100000+i, overlap); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		if r, err := b.Get(8200); err != nil || len(r.Pending) != 7 {
			t.Errorf("%d pending tokens, %v, want 7 beside the first: a change was lost", len(r.Pending), err)
		}
	},
	"secrets": func(t *testing.T, b bed) {
		mint(t, b.Store, 8200)
		name, err := b.PutSecrets(8200, map[string]string{"A": "b"})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Secrets(name); err != nil || got["A"] != "b" {
			t.Errorf("%v, %v", got, err)
		}
		if _, err := b.PutSecrets(8200, map[string]string{"A": strings.Repeat("x", 1<<20)}); err == nil {
			t.Error("secrets that cannot be read again were written")
		}
		killed := filepath.Join(b.records, "."+name+".ABCDEFGH.tmp")
		if err := os.WriteFile(killed, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := b.SweepSecrets(8200); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(killed); !os.IsNotExist(err) {
			t.Errorf("the file of a killed write stays: %v", err)
		}
		if _, err := b.Secrets(name); err == nil {
			t.Error("the secrets stay")
		}
	},
	"large record": func(t *testing.T, b bed) {
		mint(t, b.Store, 8200)
		grow := func(n int) error {
			return b.Update(t.Context(), 8200, func(r *guests.Record) error {
				r.ControllerImage = strings.Repeat("x", n)
				return nil
			})
		}
		if err := grow(1<<20 - 4096); err != nil {
			t.Errorf("just below the limit: %v", err)
		}
		if err := grow(1 << 20); err == nil {
			t.Error("a record that cannot be read again was written")
		}
		if r, err := b.Get(8200); err != nil || len(r.ControllerImage) != 1<<20-4096 {
			t.Errorf("%d bytes, %v", len(r.ControllerImage), err)
		}
	},
	"reports": func(t *testing.T, b bed) {
		mint(t, b.Store, 8200)
		send(t, b.Store, sent{8200, stepReport("a", 1, contract.Steps()[0])})
		if p, err := b.another(t).Progress(8200); err != nil || p.Run != "a" {
			t.Errorf("%+v, %v", p, err)
		}
	},
}

// Without quorum tokens that exist keep working, each change is refused with a
// text that says why, and with quorum again nothing is lost.
func noQuorum(t *testing.T) {
	c := powercut.New(t)
	b := openOn(t, c.Mount(t))
	used, fresh := mint(t, b.Store, 8200), mint(t, b.Store, 8201)
	use(t, b.Store, used)
	before := settled(t, c)
	c.NoQuorum.Store(true)
	b.Observe(func(change guests.Change) error {
		if change.Kind != guests.TokensRevoked {
			t.Errorf("the audit log would note change %d, which is not made", change.Kind)
		}
		return nil
	})
	for name, s := range map[string]*guests.Store{"the same process": b.Store, "a new one": b.another(t)} {
		assertToken(t, s, used, name, true)
		assertToken(t, s, fresh, name, true)
		if records, broken, err := s.List(); err != nil || len(records) != 2 || len(broken) > 0 {
			t.Errorf("%s: list: %v %v %v", name, records, broken, err)
		}
		_, mintErr := s.Mint(t.Context(), 8200, 100000, overlap)
		_, newErr := s.Mint(t.Context(), 8299, 100000, overlap)
		_, revokeErr := s.Revoke(t.Context(), 8200)
		_, secretsErr := s.PutSecrets(8200, map[string]string{"A": "b"})
		for what, err := range map[string]error{
			"mint": mintErr, "mint of a new guest": newErr, "revoke": revokeErr, "secrets": secretsErr,
			"first use": s.MarkUsed(t.Context(), fresh), "remove": s.Replace(t.Context(), 8200, nil), "sweep": s.Sweep(t.Context()),
		} {
			if !errors.Is(err, guests.ErrReadOnly) || fault.Of(err) != fault.NotReady || !strings.Contains(fault.HintOf(err), "quorum") {
				t.Errorf("%s: %s: %v, want ErrReadOnly with a hint", name, what, err)
			}
		}
		// Reports are on the node's own disk.
		if _, err := s.Progress(8200); !errors.Is(err, guests.ErrNotFound) {
			t.Errorf("%s: progress: %v", name, err)
		}
	}
	send(t, b.Store, sent{8200, stepReport("a", 1, contract.Steps()[0])})
	if after := tree(t, c.Dir); after != before {
		t.Errorf("without quorum the files have changed: %s, then %s", before, after)
	}
	c.NoQuorum.Store(false)
	use(t, b.Store, fresh)
	if n, err := b.Revoke(t.Context(), 8200); err != nil || n != 1 {
		t.Errorf("with quorum again: %d, %v", n, err)
	}
	assertToken(t, b.Store, used, "revoked", false)
	if p, err := b.Progress(8200); err != nil || p.Run != "a" {
		t.Errorf("the report of the time without quorum: %+v, %v", p, err)
	}
}

// settled returns the tree once the writer of first uses, which answers before
// it gives up the lock, has done so.
func settled(t *testing.T, c *powercut.Cluster) string {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(time.Millisecond) {
		if _, err := os.Lstat(filepath.Join(c.Dir, "priv/lock/felhom-guests")); errors.Is(err, os.ErrNotExist) {
			return tree(t, c.Dir)
		}
		if time.Now().After(deadline) {
			t.Fatal("the lock stays")
		}
	}
}

// tree returns the names and contents of all files.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out bytes.Buffer
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			fmt.Fprintln(&out, path)
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintln(&out, path, string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// Quorum that is lost in the middle of a change, at any of its calls, leaves the
// change made or not made: tokens of before work, and the next try succeeds.
func TestQuorumIsLostInTheMiddle(t *testing.T) {
	for calls := range 8 {
		c := powercut.New(t)
		b := openOn(t, c.Mount(t))
		first := mint(t, b.Store, 8200)
		use(t, b.Store, first)
		start := c.Length()
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for c.Length() < start+calls {
				select {
				case <-stop:
					return
				default:
				}
			}
			c.NoQuorum.Store(true)
		}()
		_, err := b.Mint(t.Context(), 8200, 100000, overlap)
		if err != nil && !errors.Is(err, guests.ErrReadOnly) {
			t.Errorf("after %d calls: %v", calls, err)
		}
		close(stop)
		<-ended
		assertToken(t, b.Store, first, "first", true)
		c.NoQuorum.Store(false)
		// pmxcfs ends a lock whose holder could not.
		if err := os.Remove(filepath.Join(c.Dir, "priv/lock/felhom-guests")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		second := mint(t, b.Store, 8200)
		assertToken(t, b.Store, first, "first", true)
		assertToken(t, b.Store, second, "second", true)
	}
}

// Two nodes change the same guests at once: neither loses the other's change,
// whose use both see, and neither removes what the other is writing.
func TestTwoNodes(t *testing.T) {
	c := powercut.New(t)
	one, two := openOn(t, c.Mount(t)), openOn(t, c.Mount(t))
	tok := mint(t, one.Store, 8200)
	var all sync.WaitGroup
	for _, b := range []bed{one, two} {
		all.Go(func() {
			for range 10 {
				// Sweep waits for the locks no longer than 5 s, as the daemon's start does not depend on it.
				if err := b.Sweep(t.Context()); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
		})
		for i := range 5 {
			all.Go(func() {
				err := b.Update(t.Context(), 8200, func(r *guests.Record) error {
					r.ControllerImage += "x"
					return nil
				})
				if _, secretsErr := b.PutSecrets(8200, map[string]string{"A": fmt.Sprint(i)}); err != nil || secretsErr != nil {
					t.Errorf("%v, %v", err, secretsErr)
				}
			})
		}
	}
	all.Wait()
	if r, err := one.Get(8200); err != nil || len(r.ControllerImage) != 10 {
		t.Errorf("%d of 10 changes, %v", len(r.ControllerImage), err)
	}
	assertToken(t, two.Store, tok, "at the other node", true)
	if _, err := two.Revoke(t.Context(), 8200); err != nil {
		t.Fatal(err)
	}
	one.clock.advance(2 * time.Second) // the other node's changes come without a notice
	assertToken(t, one.Store, tok, "revoked at the other node", false)
}

// pmxcfs is started again, as an update of PVE does: the store is not of use
// meanwhile, refuses no token for good, and works afterwards.
func TestFileSystemIsMountedAgain(t *testing.T) {
	c := powercut.New(t)
	at := t.TempDir()
	unmount := c.MountAt(t, at)
	b := openOn(t, at)
	tok := mint(t, b.Store, 8200)
	assertToken(t, b.Store, tok, "before", true)
	unmount()
	b.clock.advance(2 * time.Second)
	if _, err := b.Authenticate(tok); errors.Is(err, guests.ErrUnknownToken) {
		t.Errorf("without the file system the token is refused for good: %v", err)
	}
	t.Cleanup(c.MountAt(t, at))
	b.clock.advance(2 * time.Second)
	assertToken(t, b.Store, tok, "afterwards", true)
	if _, err := b.Revoke(t.Context(), 8200); err != nil {
		t.Fatal(err)
	}
	assertToken(t, b.Store, tok, "revoked", false)
}

// A full disk refuses changes and loses nothing.
func TestFullDisk(t *testing.T) {
	c := powercut.New(t)
	b := openOn(t, c.Mount(t))
	tok := mint(t, b.Store, 8200)
	use(t, b.Store, tok)
	before := settled(t, c)
	c.Full.Store(true)
	if _, err := b.Mint(t.Context(), 8200, 100000, overlap); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("mint: %v, want ENOSPC", err)
	}
	if _, err := b.Revoke(t.Context(), 8200); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("revoke: %v, want ENOSPC", err)
	}
	assertToken(t, b.Store, tok, "with a full disk", true)
	if after := tree(t, c.Dir); after != before {
		t.Errorf("the files have changed: %s, then %s", before, after)
	}
	c.Full.Store(false)
	mint(t, b.Store, 8200)
}
