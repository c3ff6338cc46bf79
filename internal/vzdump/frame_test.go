package vzdump_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

func entry(path string, t vzdump.Type) vzdump.Entry {
	return vzdump.Entry{Path: path, Type: t, Mode: 0o755, ModTime: day}
}

func TestFramesRoundTrip(t *testing.T) {
	members := []vzdump.Entry{
		{Path: ".", Type: vzdump.Dir, Mode: 0o755, ModTime: day},
		{Path: "etc", Type: vzdump.Dir, Mode: 0o755, ModTime: day},
		{Path: "etc/" + strings.Repeat("lang", 40), Type: vzdump.File, Mode: 0o4755, UID: 65535, GID: 65534, Size: 5, ModTime: time.Unix(7, 9)},
		{Path: "ping", Type: vzdump.File, Mode: 0o755, ModTime: day.Add(time.Hour), Xattrs: map[string]string{"security.capability": "\x01\x00=%", "user.a=b%3D": "v"}},
		{Path: "ping2", Type: vzdump.Link, Link: "ping", ModTime: day},
		{Path: "é", Type: vzdump.Symlink, Link: "../../any/where", Mode: 0o777, ModTime: day},
	}
	var b bytes.Buffer
	all := vzdump.NewMembers()
	first, err := vzdump.NewFrame(&b, vzdump.Fast, day, all)
	must(t, err)
	must(t, first.AddConfig([]byte("arch: amd64\n")))
	must(t, first.Close())
	cut := b.Len()
	second, err := vzdump.NewFrame(&b, vzdump.Release, day, all)
	must(t, err)
	for i := range members {
		must(t, second.Add(&members[i], strings.NewReader("12345")))
	}
	must(t, second.Finish())
	got, facts, err := readAll(&b, vzdump.Limits{})
	must(t, err)
	if facts.Odd != 0 || facts.Runs != 1 || facts.FrameCount != 2 || facts.Frames[1].Offset != int64(cut) || facts.NoChecksum != 0 {
		t.Errorf("facts %+v", facts)
	}
	want := slices.Clone(members)
	want[2].ModTime = time.Unix(7, 0) // whole seconds
	want[3].ModTime = day             // not after the epoch
	for i, e := range got[2:] {
		e = vzdump.Entry{Path: e.Path, Type: e.Type, Link: e.Link, Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.Size, ModTime: e.ModTime, Xattrs: e.Xattrs}
		if d := cmp.Diff(want[i], e); d != "" {
			t.Error(d)
		}
	}
}

func TestFrameRefuses(t *testing.T) {
	with := func(e vzdump.Entry, f func(*vzdump.Entry)) vzdump.Entry {
		f(&e)
		return e
	}
	f := entry("f", vzdump.File)
	cases := []struct {
		name    string
		members []vzdump.Entry
		want    string
	}{
		{name: "twice", members: []vzdump.Entry{f, f}, want: "exists already"},
		{name: "before its directory", members: []vzdump.Entry{entry("d/f", vzdump.File)}, want: `before its directory "d"`},
		{name: "below a symlink", members: []vzdump.Entry{with(entry("l", vzdump.Symlink), func(e *vzdump.Entry) { e.Link = "/" }), entry("l/f", vzdump.File)}, want: "before its directory"},
		{name: "absolute", members: []vzdump.Entry{entry("/f", vzdump.File)}, want: "not a path"},
		{name: "dots", members: []vzdump.Entry{entry("../f", vzdump.File)}, want: `".." in the name`},
		{name: "unclean", members: []vzdump.Entry{entry("./f", vzdump.File)}, want: "not a path"},
		{name: "control characters", members: []vzdump.Entry{entry("a\tb", vzdump.File)}, want: "not a path"},
		{name: "device", members: []vzdump.Entry{entry("null", vzdump.Char)}, want: "a character device"},
		{name: "below dev", members: []vzdump.Entry{entry("dev", vzdump.Dir), entry("dev/f", vzdump.File)}, want: "below dev"},
		{name: "uid", members: []vzdump.Entry{with(f, func(e *vzdump.Entry) { e.UID = 65536 })}, want: "belongs to 65536:0"},
		{name: "gid", members: []vzdump.Entry{with(f, func(e *vzdump.Entry) { e.GID = -1 })}, want: "belongs to 0:-1"},
		{name: "mode", members: []vzdump.Entry{with(f, func(e *vzdump.Entry) { e.Mode = 0o100644 })}, want: "permission bits"},
		{name: "late link", members: []vzdump.Entry{with(entry("l", vzdump.Link), func(e *vzdump.Entry) { e.Link = "z" }), entry("z", vzdump.File)}, want: "no earlier file"},
		{name: "symlink to nothing", members: []vzdump.Entry{entry("l", vzdump.Symlink)}, want: "to nothing"},
		{name: "attribute", members: []vzdump.Entry{with(f, func(e *vzdump.Entry) { e.Xattrs = map[string]string{"trusted.x": "1"} })}, want: "trusted.x"},
		{name: "mode of etc", members: []vzdump.Entry{with(entry("etc", vzdump.Dir), func(e *vzdump.Entry) { e.Mode = 0o700 })}, want: "want 0755 0:0"},
		{name: "directory with content", members: []vzdump.Entry{with(entry("d", vzdump.Dir), func(e *vzdump.Entry) { e.Size = 1 })}, want: "of 1 bytes"},
		{name: "file that shrank", members: []vzdump.Entry{with(f, func(e *vzdump.Entry) { e.Size = 9 })}, want: "want 9 bytes, got 2"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			frame, err := vzdump.NewFrame(io.Discard, vzdump.Fast, day, vzdump.NewMembers())
			must(t, err)
			must(t, frame.AddConfig(nil))
			root := entry(".", vzdump.Dir)
			must(t, frame.Add(&root, nil))
			for i := range c.members {
				err = errors.Join(err, frame.Add(&c.members[i], strings.NewReader("ab")))
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			_ = frame.Close() // frees the encoder; the frame is broken on purpose
		})
	}
}

func TestFirstMemberIsTheConfiguration(t *testing.T) {
	frame, err := vzdump.NewFrame(io.Discard, vzdump.Fast, day, vzdump.NewMembers())
	must(t, err)
	root := entry(".", vzdump.Dir)
	if err := frame.Add(&root, nil); err == nil || !strings.Contains(err.Error(), "the first member") {
		t.Errorf("error %v", err)
	}
	must(t, frame.Close())
}

// TestBytesAreFixed holds the bytes of each setting: a change of the encoder
// must be seen, because it makes every image of every recipe another one. Raise
// pack's formatVersion with the sums.
func TestBytesAreFixed(t *testing.T) {
	cases := []struct {
		setting vzdump.Setting
		size    int64
		zeros   bool
		want    string
	}{
		{vzdump.Fast, 17 << 20, false, "e8f81b8c51bc97c26fad116e60ebb21b9e56071f665598f6e81068205cf7f957"}, // over a cut
		{vzdump.Release, 2 << 20, false, "597f912b04bbb57e0412e395b46dd742037a907c352e91691041c1695a265880"},
		{vzdump.Release, 150 << 20, true, "4918126a5f04ead219f645c14f9a7f6f20fee828a06780f94796c12fd4281d91"}, // over two cuts
	}
	for _, c := range cases {
		for _, procs := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s of %d on %d", c.setting, c.size, procs), func(t *testing.T) {
				old := runtime.GOMAXPROCS(procs)
				defer runtime.GOMAXPROCS(old)
				h := sha256.New()
				frame, err := vzdump.NewFrame(h, c.setting, day, vzdump.NewMembers())
				must(t, err)
				must(t, frame.AddConfig(nil))
				root, f := entry(".", vzdump.Dir), entry("f", vzdump.File)
				f.Size = c.size
				must(t, frame.Add(&root, nil))
				var content io.Reader = newText()
				if c.zeros {
					content = zeros{}
				}
				must(t, frame.Add(&f, content))
				must(t, frame.Finish())
				if got := hex.EncodeToString(h.Sum(nil)); got != c.want {
					t.Errorf("digest %s, want %s", got, c.want)
				}
			})
		}
	}
}

// zeros is endless.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// text is endless, and packs like a program: repeated in parts.
type text struct{ state, at uint64 }

func newText() *text { return &text{state: 1} }

// It has nothing to share, and the race detector would make millions of its steps slow.
//
//go:norace
func (g *text) Read(p []byte) (int, error) {
	for i := range p {
		g.state = g.state*6364136223846793005 + 1442695040888963407
		p[i] = byte(g.state>>60) | byte(g.at>>9)
		g.at++
	}
	return len(p), nil
}

func BenchmarkFrame(b *testing.B) {
	for _, setting := range []vzdump.Setting{vzdump.Fast, vzdump.Release} {
		b.Run(setting.String(), func(b *testing.B) {
			const size = 64 << 20
			b.SetBytes(size)
			for b.Loop() {
				frame, err := vzdump.NewFrame(io.Discard, setting, day, vzdump.NewMembers())
				must(b, err)
				must(b, frame.AddConfig(nil))
				root, f := entry(".", vzdump.Dir), entry("f", vzdump.File)
				f.Size = size
				must(b, frame.Add(&root, nil))
				must(b, frame.Add(&f, newText()))
				must(b, frame.Finish())
			}
		})
	}
}
