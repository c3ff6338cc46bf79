package identity_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/identity"
)

// After a switch the host shows the very certificate that the guests were given
// as the next one, since engines trust certificates and not keys.
func TestSwitch(t *testing.T) {
	root, dir := openRoot(t)
	before := load(t, root, day0, first)
	if err := (identity.Files{Keys: root, Certificates: root}).Switch(); err != nil {
		t.Fatal(err)
	}
	after := load(t, root, day0.Add(time.Minute), first)
	if !bytes.Equal(after.Current.Leaf.Raw, before.Next.Leaf.Raw) || !isSameKey(after.Current, before.Next) {
		t.Error("the current certificate is not the one that was next")
	}
	if isSameKey(after.Next, before.Next) || isSameKey(after.Next, before.Current) {
		t.Error("the next key is not a new one")
	}
	if again := load(t, root, day0.Add(time.Hour), first); len(again.Made) > 0 || !isSameKey(again.Next, after.Next) {
		t.Errorf("loaded again: made %v", again.Made)
	}
	names, err := fs.Glob(os.DirFS(dir), "*")
	if want := []string{"current.crt", "current.key", "next.crt", "next.key"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("files %v, %v, want %v", names, err, want)
	}
}

// A switch consists of a few files that are replaced one by one: whatever it had
// written when it was killed, the host shows the old pair or the new one, and a
// second switch leads to the same.
func TestSwitchInterrupted(t *testing.T) {
	root, dir := openRoot(t)
	before := load(t, root, day0, first)
	if err := (identity.Files{Keys: root, Certificates: root}).Switch(); err != nil {
		t.Fatal(err)
	}
	second, third := readFile(t, dir, "current.key"), readFile(t, dir, "next.key")
	for name, c := range map[string]struct {
		files   map[string][]byte
		pending bool // the switch has not happened
	}{
		"upcoming key made":     {map[string][]byte{"current.key": nil, "next.key": second, "upcoming.key": third}, true},
		"current key replaced":  {map[string][]byte{"current.key": second, "next.key": second, "upcoming.key": third}, false},
		"next key replaced":     {map[string][]byte{"current.key": second, "next.key": third, "upcoming.key": third}, false},
		"upcoming key removed":  {map[string][]byte{"current.key": second, "next.key": third}, false},
		"copied by an operator": {map[string][]byte{"current.key": second, "next.key": second}, false},
	} {
		t.Run(name, func(t *testing.T) {
			root, dir := openRoot(t)
			old := load(t, root, day0, first)
			files := identity.Files{Keys: root, Certificates: root}
			for file, data := range c.files {
				if data == nil {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			id := load(t, root, day0, first)
			if c.pending != isSameKey(id.Current, old.Current) || c.pending == isSameKey(id.Current, before.Next) {
				t.Error("the current key is not what it must be")
			}
			if isSameKey(id.Current, id.Next) {
				t.Error("current and next share one key")
			}
			if err := files.Switch(); err != nil {
				t.Fatal(err)
			}
			if current, err := os.ReadFile(filepath.Join(dir, "current.key")); err != nil || bytes.Equal(current, readFile(t, dir, "next.key")) {
				t.Errorf("the switch left two equal keys: %v", err)
			}
			again := load(t, root, day0, first)
			if !isSameKey(again.Current, id.Next) || isSameKey(again.Current, again.Next) || isSameKey(again.Next, id.Current) {
				t.Error("the next switch does not show the key that was next")
			}
			if _, err := os.Lstat(filepath.Join(dir, "upcoming.key")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("upcoming.key: %v", err)
			}
		})
	}
}

// A renewed certificate is another one for an engine: the one before is known
// until it ends, and only if it still names this host.
func TestPreviousCertificate(t *testing.T) {
	root, _ := openRoot(t)
	id := load(t, root, day0, first)
	if id.Previous != nil {
		t.Error("a new identity has a previous certificate")
	}
	late := day0.AddDate(9, 0, 5)
	renewed := load(t, root, late, first)
	if renewed.Previous == nil || !bytes.Equal(renewed.Previous.Raw, id.Current.Leaf.Raw) || !isSameKey(renewed.Current, id.Current) {
		t.Error("the certificate before the renewal is lost, or the key is another")
	}
	if again := load(t, root, late.AddDate(0, 0, 1), first); again.Previous == nil || len(again.Made) > 0 {
		t.Errorf("a day later: made %v, previous %v", again.Made, again.Previous != nil)
	}
	if ended := load(t, root, day0.AddDate(10, 0, 5), first); ended.Previous != nil {
		t.Error("a certificate that has ended is still handed out")
	}
	if moved := load(t, root, late, second); moved.Previous != nil {
		t.Error("a certificate of another address is still handed out")
	}
}

// A clock that jumps by years makes certificates again, and never keys.
func TestClockJumps(t *testing.T) {
	root, _ := openRoot(t)
	id := load(t, root, day0, first)
	for _, now := range []time.Time{day0.AddDate(30, 0, 0), day0.AddDate(-20, 0, 0), day0} {
		got := load(t, root, now, first)
		if !isSameKey(got.Current, id.Current) || !isSameKey(got.Next, id.Next) {
			t.Errorf("in %v: another key", now)
		}
		if leaf := got.Current.Leaf; now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
			t.Errorf("in %v: the certificate is valid from %v to %v", now, leaf.NotBefore, leaf.NotAfter)
		}
	}
}

func readFile(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
