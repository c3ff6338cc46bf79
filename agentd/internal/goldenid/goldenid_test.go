package goldenid_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/goldenid"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

const (
	january = "vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst"
	march   = "vzdump-lxc-9100-2026_03_04-05_06_07.tar.zst"
	others  = "vzdump-lxc-9200-2026_03_04-05_06_07.tar.zst"
)

func write(t *testing.T, name string, size int, fill byte, at time.Time) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Repeat([]byte{fill}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
	return name
}

func idOf(t *testing.T, archive string) goldenid.ID {
	t.Helper()
	id, err := goldenid.Of(archive)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	file := func(name string, size int, fill byte, later time.Duration) goldenid.ID {
		return idOf(t, write(t, filepath.Join(dir, name), size, fill, at.Add(later)))
	}
	const large = 3 << 20
	for _, test := range []struct {
		name        string
		guest, host goldenid.ID
		want        goldenid.Age
	}{
		{"nothing of the guest", goldenid.ID{}, file("a/"+march, 10, 'a', 0), goldenid.Unknown},
		{"no image", file("a/"+march, 10, 'a', 0), goldenid.ID{}, goldenid.Unknown},
		{"older by name", file("b/"+january, 10, 'a', time.Hour), file("b/"+march, 10, 'b', 0), goldenid.Older},
		{"newer by name", file("c/"+march, 10, 'b', 0), file("c/"+january, 10, 'a', time.Hour), goldenid.Other},
		{"copied and renamed", file("d/"+january, large, 'a', 0), file("d/current.tar.zst", large, 'a', time.Hour), goldenid.Same},
		{"replaced under its name", file("e/current.tar.zst", large, 'a', 0), file("e2/current.tar.zst", large, 'b', time.Hour), goldenid.Older},
		{"same name and time, other bytes", file("f/"+march, large, 'a', 0), file("f2/"+march, large+1, 'a', 0), goldenid.Other},
		{"another kind", file("g/"+january, 10, 'a', 0), file("g/"+others, 10, 'b', 0), goldenid.Other},
		{"volume", goldenid.Named("local:backup/" + january), goldenid.Named("local:backup/" + march), goldenid.Older},
		{"volume and path of one archive", goldenid.Named("local:backup/" + march), file("h/"+march, 10, 'a', 0), goldenid.Same},
		{"path that names no time", goldenid.Named("/dump/current.tar.zst"), file("i/"+march, 10, 'a', 0), goldenid.Unknown},
	} {
		if got := test.guest.Compare(test.host); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	end := bytes.Repeat([]byte{'a'}, large)
	end[large-1] = 'b'
	if err := os.WriteFile(filepath.Join(dir, "end.tar.zst"), end, 0o600); err != nil {
		t.Fatal(err)
	}
	if idOf(t, filepath.Join(dir, "end.tar.zst")).Print == file("j.tar.zst", large, 'a', 0).Print {
		t.Error("an archive with another last byte has the same print")
	}
}

// TestHostFollowsItsArchive: a daemon that runs for months sees a new image.
func TestHostFollowsItsArchive(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "golden.tar.zst"), 10, 'a', time.Now().Add(-time.Hour))
	h := goldenid.NewHost(path)
	first := h.ID(t.Context())
	if first.Print == "" || h.ID(t.Context()) != first {
		t.Errorf("%+v, then %+v", first, h.ID(t.Context()))
	}
	write(t, path+".new", 10, 'b', time.Now())
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	second := h.ID(t.Context())
	if first.Compare(second) != goldenid.Older {
		t.Errorf("the replaced image is %+v, the new one %+v", first, second)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := h.ID(t.Context()); got != (goldenid.ID{}) {
		t.Errorf("a missing image is %+v", got)
	}
}

// TestOddArchives: none of them holds up or fails a list.
func TestOddArchives(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, archive := range []string{"", pipe, t.TempDir(), "/nonexistent", "nonsense", "local:backup/odd"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if got := goldenid.NewHost(archive).ID(ctx); got != (goldenid.ID{}) || ctx.Err() != nil {
			t.Errorf("%q: %+v, %v", archive, got, ctx.Err())
		}
		cancel()
	}
	var none *goldenid.Host
	if got := none.ID(t.Context()); got != (goldenid.ID{}) {
		t.Errorf("no host: %+v", got)
	}
}

func FuzzNamed(f *testing.F) {
	for _, s := range []string{"local:backup/vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst", "/srv/a:b/vzdump-lxc-9100-2026_01_02-03_04_05.tar.zst", "x", ":", "a:/", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, archive string) {
		id := goldenid.Named(archive)
		if id.Made.IsZero() != (id.Line == 0) || id.Print != "" {
			t.Errorf("%q is %+v", archive, id)
		}
		if id.Line != 0 && !strings.HasSuffix(archive, (vzdump.Name{VMID: id.Line, Time: id.Made}).String()) && !strings.Contains(archive, (vzdump.Name{VMID: id.Line, Time: id.Made}).String()+".") {
			t.Errorf("%q is %+v", archive, id)
		}
	})
}
