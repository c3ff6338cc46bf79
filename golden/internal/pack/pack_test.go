package pack_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/golden/internal/overlay"
	"github.com/felhom/felhom-golden/golden/internal/pack"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/isolate"
	"github.com/felhom/felhom-golden/internal/pctconf"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

var epoch = time.Unix(1_750_000_000, 0)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// capNetRaw is "cap_net_raw=ep", revision 2.
var capNetRaw = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// makeRoot makes a root with everything that a member can be.
func makeRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	must(t, os.Chmod(root, 0o700)) // as mkdtemp leaves it
	for _, dir := range []string{
		"etc/systemd", "usr/bin", "usr/bin-x", "usr/share/doc/perl", "usr/share/doc/empty", "usr/share/man/man1", "usr/local/sbin", "opt", "tmp", "dev/pts", "etc/vzdump",
	} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	must(t, os.Chmod(filepath.Join(root, "tmp"), fs.ModeSticky|0o777))
	for name, data := range map[string]string{
		"etc/passwd": "root:x:0:0\n", "usr/bin/perl": strings.Repeat("perl ", 40000), "usr/bin/su": "su", "usr/bin/ctr": "ctr",
		"usr/share/doc/perl/copyright": "(c)", "usr/share/doc/perl/README": "read", "usr/share/doc/empty/README": "read", "usr/share/man/man1/perl.1": "man",
		"dev/console": "", "etc/vzdump/pct.conf": "old", "usr/bin/ping": "ping", "usr/local/sbin/boot": "old", "empty": "",
		"long-" + strings.Repeat("n", 150): "long", "ünïcödé": "u",
		"opt/large": strings.Repeat("large\n", 1<<20),
	} {
		must(t, os.WriteFile(filepath.Join(root, name), []byte(data), 0o644))
	}
	must(t, os.Link(filepath.Join(root, "usr/bin/perl"), filepath.Join(root, "usr/bin/perl5.40")))
	must(t, os.Link(filepath.Join(root, "opt/large"), filepath.Join(root, "opt/larger")))
	must(t, os.Symlink("usr/bin", filepath.Join(root, "bin")))
	must(t, os.Symlink("/nowhere", filepath.Join(root, "etc/dangling")))
	must(t, os.Chown(filepath.Join(root, "usr/bin/su"), 0, 42))
	must(t, os.Chmod(filepath.Join(root, "usr/bin/su"), fs.ModeSetuid|0o755))
	must(t, os.Chown(filepath.Join(root, "etc/passwd"), 65534, 65535))
	must(t, unix.Setxattr(filepath.Join(root, "usr/bin/ping"), "security.capability", capNetRaw, 0))
	must(t, unix.Setxattr(filepath.Join(root, "etc/passwd"), "user.note", []byte("a\x00b=c"), 0))
	must(t, unix.Setxattr(filepath.Join(root, "etc/passwd"), "trusted.gone", []byte("x"), 0))
	must(t, os.Chtimes(filepath.Join(root, "usr/bin/su"), epoch, epoch.Add(-time.Hour)))
	return root
}

func source(root string) pack.Source {
	var c pctconf.Config
	for key, value := range map[string]string{"arch": "amd64", "ostype": "debian", "hostname": "golden", "unprivileged": "1", "rootfs": "local:0,size=8G"} {
		if err := c.Set(key, value); err != nil {
			panic(err)
		}
	}
	return pack.Source{
		Root: root, Profile: pack.Pruned(), Config: c,
		Overlay: []overlay.File{
			{Path: "usr/local/sbin/boot", Mode: 0o755, Data: []byte("new")},
			{Path: "etc/systemd/system/boot.service", Mode: 0o644, Data: []byte("[Unit]\n")},
			{Path: "etc/localtime", Mode: fs.ModeSymlink | 0o777, Link: "/usr/share/zoneinfo/UTC"},
		},
	}
}

func output(t *testing.T) pack.Output {
	t.Helper()
	return pack.Output{Path: filepath.Join(t.TempDir(), "vzdump-lxc-9100-2025_06_15-15_06_40.tar.zst"), Epoch: epoch, Setting: vzdump.Fast}
}

func packed(t *testing.T, src pack.Source, out pack.Output) (pack.Result, []byte) {
	t.Helper()
	res, err := pack.Pack(t.Context(), src, out, nil)
	must(t, err)
	data, err := os.ReadFile(out.Path)
	must(t, err)
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != res.SHA256 || res.Size != int64(len(data)) {
		t.Errorf("result says %s, %d bytes; the file is %s, %d bytes", res.SHA256, res.Size, got, len(data))
	}
	return res, data
}

func read(t *testing.T, data []byte) (entries []vzdump.Entry, facts vzdump.Facts) {
	t.Helper()
	r, err := vzdump.NewReader(bytes.NewReader(data), vzdump.Limits{})
	must(t, err)
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries, r.Facts()
		}
		must(t, err)
		entries = append(entries, *e)
	}
}

func TestArchiveIsCanonical(t *testing.T) {
	res, data := packed(t, source(makeRoot(t)), output(t))
	entries, facts := read(t, data)
	var names []string
	for _, e := range entries {
		names = append(names, e.RawName)
		if e.Odd != 0 {
			t.Errorf("%s is odd: %s", e.RawName, e.Odd)
		}
		if e.ModTime.After(epoch) {
			t.Errorf("%s is newer than the epoch", e.RawName)
		}
	}
	want := []string{
		"./etc/vzdump/pct.conf", "./etc/vzdump/pct.fw",
		"./", "./etc/", "./etc/felhom/", "./etc/felhom/contents.json", "./etc/localtime", "./etc/systemd/", "./etc/systemd/system/", "./etc/systemd/system/boot.service",
		"./usr/", "./usr/local/", "./usr/local/sbin/", "./usr/local/sbin/boot",
		"./opt/", "./opt/large", // 4 MiB and more
		"./bin", "./dev/", "./empty", "./etc/dangling", "./etc/passwd", "./etc/vzdump/", "./long-" + strings.Repeat("n", 150), "./opt/larger", "./tmp/",
		"./usr/bin/", "./usr/bin/perl", "./usr/bin/perl5.40", "./usr/bin/ping", "./usr/bin/su", "./usr/bin-x/",
		"./usr/share/", "./usr/share/doc/", "./usr/share/doc/perl/", "./usr/share/doc/perl/copyright", "./usr/share/man/", "./ünïcödé",
	}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
	if facts.Runs != 3 || facts.FrameCount < 2 || facts.NoChecksum != 0 || facts.Skippable != 0 || facts.Window > vzdump.MaxWindow {
		t.Errorf("facts %+v", facts)
	}
	if d := cmp.Diff([]string{"etc/passwd: trusted.gone"}, res.Dropped); d != "" {
		t.Error(d)
	}
	if res.Entries != len(entries) || res.Unpacked != facts.Content {
		t.Errorf("result says %d entries, %d bytes; the archive has %d, %d", res.Entries, res.Unpacked, len(entries), facts.Content)
	}
}

func TestTarReadsIt(t *testing.T) {
	for _, setting := range []vzdump.Setting{vzdump.Fast, vzdump.Release} {
		t.Run(setting.String(), func(t *testing.T) {
			out := output(t)
			out.Setting = setting
			packed(t, source(makeRoot(t)), out)
			dir := t.TempDir()
			cmd := exec.Command("tar", "--zstd", "-xp", "--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability", "--numeric-owner", "-f", out.Path, "-C", dir)
			if text, err := cmd.CombinedOutput(); err != nil || len(text) > 0 {
				t.Fatalf("tar: %v\n%s", err, text)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "usr/local/sbin/boot")); err != nil || string(got) != "new" {
				t.Errorf("overlay file holds %q, %v", got, err)
			}
			var a, b unix.Stat_t
			must(t, unix.Stat(filepath.Join(dir, "usr/bin/perl"), &a))
			must(t, unix.Stat(filepath.Join(dir, "usr/bin/perl5.40"), &b))
			if a.Ino != b.Ino {
				t.Error("the hard link is a copy")
			}
			buf := make([]byte, 100)
			n, err := unix.Getxattr(filepath.Join(dir, "usr/bin/ping"), "security.capability", buf)
			if err != nil || !bytes.Equal(buf[:n], capNetRaw) {
				t.Errorf("capability %x, %v", buf[:max(n, 0)], err)
			}
			must(t, unix.Stat(filepath.Join(dir, "usr/bin/su"), &a))
			if a.Mode != unix.S_IFREG|0o4755 || a.Gid != 42 || a.Mtim.Sec != epoch.Unix()-3600 {
				t.Errorf("su is %o %d:%d at %d", a.Mode, a.Uid, a.Gid, a.Mtim.Sec)
			}
		})
	}
}

func TestBytesDependOnNothingElse(t *testing.T) {
	root := makeRoot(t)
	_, want := packed(t, source(root), output(t))
	cache := t.TempDir()
	variants := []struct {
		name   string
		change func(*testing.T, *pack.Source, *pack.Output)
		reused bool
	}{
		{name: "another copy of the root", change: func(t *testing.T, s *pack.Source, _ *pack.Output) {
			s.Root = makeRoot(t)
		}},
		{name: "umask", change: func(t *testing.T, _ *pack.Source, _ *pack.Output) {
			old := syscall.Umask(0o077)
			t.Cleanup(func() { syscall.Umask(old) })
		}},
		{name: "one processor", change: func(t *testing.T, _ *pack.Source, _ *pack.Output) {
			old := runtime.GOMAXPROCS(1)
			t.Cleanup(func() { runtime.GOMAXPROCS(old) })
		}},
		{name: "cache, first time", change: func(_ *testing.T, _ *pack.Source, o *pack.Output) { o.CacheDir, o.CacheKey = cache, "k" }},
		{name: "cache, second time", change: func(_ *testing.T, s *pack.Source, o *pack.Output) {
			o.CacheDir, o.CacheKey = cache, "k"
			s.Root = "/nonexistent" // the frame alone is enough
		}, reused: true},
		{name: "overlay in another order", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) {
			s.Overlay[0], s.Overlay[2] = s.Overlay[2], s.Overlay[0]
		}},
	}
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			src, out := source(root), output(t)
			v.change(t, &src, &out)
			res, got := packed(t, src, out)
			if !bytes.Equal(got, want) || res.BaseReused != v.reused {
				t.Errorf("same bytes %v, base reused %v", bytes.Equal(got, want), res.BaseReused)
			}
		})
	}
}

func TestCacheIsNotUsedWhenItMustNot(t *testing.T) {
	root, cache := makeRoot(t), t.TempDir()
	out := output(t)
	out.CacheDir, out.CacheKey = cache, "k"
	packed(t, source(root), out)
	cases := []struct {
		name   string
		change func(*testing.T, *pack.Source, *pack.Output)
		reused bool
	}{
		{name: "new content of an overlay file", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) { s.Overlay[0].Data = []byte("newer") }, reused: true},
		{name: "other configuration", change: func(t *testing.T, s *pack.Source, _ *pack.Output) { must(t, s.Config.Set("memory", "1024")) }, reused: true},
		{name: "another path in the overlay", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) {
			s.Overlay = append(s.Overlay, overlay.File{Path: "etc/passwd", Mode: 0o644, Data: []byte("mine")})
		}},
		{name: "another key", change: func(_ *testing.T, _ *pack.Source, o *pack.Output) { o.CacheKey = "other" }},
		{name: "another epoch", change: func(_ *testing.T, _ *pack.Source, o *pack.Output) { o.Epoch = epoch.Add(time.Second) }},
		{name: "another profile", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) { s.Profile = pack.Full() }},
		{name: "a damaged frame", change: func(t *testing.T, _ *pack.Source, _ *pack.Output) {
			frames, err := filepath.Glob(filepath.Join(cache, "*.tar.zst"))
			must(t, err)
			for _, f := range frames {
				data, err := os.ReadFile(f)
				must(t, err)
				data[len(data)/2] ^= 1
				must(t, os.WriteFile(f, data, 0o644))
			}
		}},
		{name: "an archive that was changed in place", change: func(t *testing.T, s *pack.Source, o *pack.Output) {
			first := output(t)
			first.CacheDir, first.CacheKey = cache, "changed"
			packed(t, *s, first)
			o.CacheKey = "changed"
			file, err := os.OpenFile(first.Path, os.O_WRONLY, 0)
			must(t, err)
			_, err = file.WriteAt([]byte("mine"), 700)
			must(t, errors.Join(err, file.Close()))
		}},
		{name: "a frame that is cut short", change: func(t *testing.T, _ *pack.Source, _ *pack.Output) {
			frames, err := filepath.Glob(filepath.Join(cache, "*.tar.zst"))
			must(t, err)
			for _, f := range frames {
				must(t, os.Truncate(f, 300))
			}
		}},
		{name: "named pipes for frames", change: func(t *testing.T, _ *pack.Source, _ *pack.Output) { replaceByPipes(t, cache, "*.tar.zst") }},
		{name: "named pipes for records", change: func(t *testing.T, _ *pack.Source, _ *pack.Output) { replaceByPipes(t, cache, "*.record") }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			src, out := source(root), output(t)
			out.CacheDir, out.CacheKey = cache, "k"
			c.change(t, &src, &out)
			res, data := packed(t, src, out)
			if res.BaseReused != c.reused {
				t.Errorf("base reused %v, want %v", res.BaseReused, c.reused)
			}
			out2 := output(t)
			out2.Epoch = out.Epoch
			if _, plain := packed(t, src, out2); !bytes.Equal(data, plain) {
				t.Error("cached and uncached archives differ")
			}
		})
	}
}

// replaceByPipes leaves what would hold up an ordinary open for ever.
func replaceByPipes(t *testing.T, dir, pattern string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	must(t, err)
	if len(names) == 0 {
		t.Fatalf("no %s in the cache", pattern)
	}
	for _, name := range names {
		must(t, os.Remove(name))
		must(t, unix.Mkfifo(name, 0o600))
	}
}

func TestRefused(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	cases := []struct {
		name   string
		change func(*testing.T, *pack.Source, *pack.Output)
		want   string
		code   fault.Kind
	}{
		{name: "archive is there", change: func(t *testing.T, _ *pack.Source, o *pack.Output) {
			must(t, os.WriteFile(o.Path, []byte("old"), 0o644))
		}, want: "exists", code: fault.Misuse},
		{name: "fifo and unmapped owner at once", change: func(t *testing.T, s *pack.Source, _ *pack.Output) {
			must(t, unix.Mkfifo(filepath.Join(s.Root, "tmp/pipe"), 0o600))
			must(t, os.Chown(filepath.Join(s.Root, "empty"), 100000, 0))
		}, want: "/empty: belongs to 100000:0, want ids up to 65535\n/tmp/pipe: a fifo", code: fault.Invalid},
		{name: "capability of a namespace", change: func(t *testing.T, s *pack.Source, _ *pack.Output) {
			v3 := append(bytes.Clone(capNetRaw), 0xa0, 0x86, 1, 0)
			v3[3] = 3
			must(t, unix.Setxattr(filepath.Join(s.Root, "usr/bin/su"), "security.capability", v3, 0))
		}, want: "not of revision 2", code: fault.Invalid},
		{name: "overlay below a symlink", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) { s.Overlay[0].Path = "bin/boot" }, want: "/bin is a symlink to usr/bin", code: fault.Invalid},
		{name: "overlay file over a directory", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) { s.Overlay[0].Path = "usr/bin" }, want: "/usr/bin: a directory in the root, and a file in the overlay", code: fault.Invalid},
		{name: "overlay path twice", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) { s.Overlay[1].Path = s.Overlay[0].Path }, want: "two files for", code: fault.Invalid},
		{name: "overlay escapes", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) { s.Overlay[1].Path = "../x" }, want: "clean relative path", code: fault.Invalid},
		{name: "overlay brings a configuration", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) { s.Overlay[1].Path = vzdump.ConfigPath }, want: "PVE's", code: fault.Invalid},
		{name: "overlay brings a table of contents", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) { s.Overlay[1].Path = "etc/felhom/contents.json" }, want: "pack writes this file itself", code: fault.Invalid},
		{name: "overlay source missing", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) { s.Overlay[1].Source = "/nonexistent" }, want: "/nonexistent", code: fault.Invalid},
		{name: "root missing", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) { s.Root = "/nonexistent" }, want: "open root", code: fault.Failed},
		{name: "wrong configuration", change: func(_ *testing.T, s *pack.Source, _ *pack.Output) {
			s.Config.Settings = append(s.Config.Settings, pctconf.Setting{Key: "memory", Value: "lots"})
		}, want: "memory", code: fault.Invalid},
		{name: "full disk", change: func(t *testing.T, s *pack.Source, o *pack.Output) {
			for len(s.Overlay[0].Data) < 64<<10 {
				s.Overlay[0].Data = append(s.Overlay[0].Data, rand.Text()...)
			}
			o.Path = filepath.Join(fullDisk(t), "a.tar.zst")
		}, want: "no space left", code: fault.Failed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			src, out := source(makeRoot(t)), output(t)
			c.change(t, &src, &out)
			_, err := pack.Pack(t.Context(), src, out, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || fault.Of(err) != c.code {
				t.Fatalf("error %v, class %s, want %q, class %s", err, fault.Of(err), c.want, c.code)
			}
			left, err := os.ReadDir(filepath.Dir(out.Path))
			must(t, err)
			for _, e := range left {
				if data, _ := os.ReadFile(filepath.Join(filepath.Dir(out.Path), e.Name())); string(data) != "old" {
					t.Errorf("%s was left behind", e.Name())
				}
			}
		})
	}
}

// fullDisk mounts a file system that is too small for the archive.
func fullDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	return dir
}

func TestForceReplacesAndCancelDoesNot(t *testing.T) {
	src, out := source(makeRoot(t)), output(t)
	must(t, os.WriteFile(out.Path, []byte("old"), 0o644))
	out.Force = true
	ctx, cancel := context.WithCancel(t.Context())
	_, err := pack.Pack(ctx, src, out, func(done, _ int64) {
		if done > 1000 {
			cancel()
		}
	})
	if fault.Of(err) != fault.Interrupted {
		t.Errorf("error %v, want interrupted", err)
	}
	if got, _ := os.ReadFile(out.Path); string(got) != "old" {
		t.Error("a cancelled run replaced the archive")
	}
	if _, data := packed(t, src, out); len(data) < 100 {
		t.Error("the archive was not replaced")
	}
}

func TestProgressReachesItsTotal(t *testing.T) {
	var last, total int64
	_, err := pack.Pack(t.Context(), source(makeRoot(t)), output(t), func(d, n int64) {
		if d < last {
			t.Errorf("went back from %d to %d", last, d)
		}
		last, total = d, n
	})
	must(t, err)
	if last == 0 || last != total {
		t.Errorf("ended at %d of %d", last, total)
	}
}
