package unpack_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/isolate"
	"github.com/felhom/felhom-golden/internal/unpack"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// small returns a directory on a file system of its own.
func small(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, options))
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	return dir
}

// claims returns an archive whose members claim what their sizes say.
func claims(t *testing.T, files int, size int64, more ...tar.Header) *bytes.Reader {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h tar.Header) {
		h.Format = tar.FormatPAX
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		must(t, w.WriteHeader(&h))
		_, err := w.Write(make([]byte, h.Size))
		must(t, err)
	}
	conf := "arch: amd64\n"
	must(t, w.WriteHeader(&tar.Header{Name: "./" + vzdump.ConfigPath, Size: int64(len(conf)), Mode: 0o644}))
	_, err := w.Write([]byte(conf))
	must(t, err)
	for i := range files {
		add(tar.Header{Name: fmt.Sprintf("./f%06d", i), Size: size, Mode: 0o644})
	}
	for _, h := range more {
		add(h)
	}
	must(t, w.Close())
	return bytes.NewReader(buf.Bytes())
}

func count(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	return len(entries)
}

func TestCheckSpace(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	for _, tt := range []struct {
		name, fs string
		archive  *bytes.Reader
		want     string // "" fits
	}{
		{"one large file", "size=4m", claims(t, 1, 5<<20), "the archive needs 5.0 MiB, and 4.0 MiB are free"},
		{"many small files", "size=4m", claims(t, 1100, 1), "the archive needs 4.3 MiB, and 4.0 MiB are free"},
		{"many empty files", "size=4m,nr_inodes=500", claims(t, 500, 0), "the archive needs 503 inodes, and 499 are free"},
		{"implied directories", "size=4m,nr_inodes=500", claims(t, 0, 0, deep(500)...), "inodes, and 499 are free"},
		{"long links", "size=1m", claims(t, 0, 0, links(300)...), "the archive needs 1.2 MiB, and 1.0 MiB are free"},
		{"fits", "size=8m,nr_inodes=600", claims(t, 500, 8192), ""},
		{"names of one file", "size=2m,nr_inodes=10", claims(t, 1, 1<<20, tar.Header{Name: "./a", Typeflag: tar.TypeLink, Linkname: "./f000000"}, tar.Header{Name: "./b", Typeflag: tar.TypeLink, Linkname: "./f000000"}), ""},
		{"names that come twice", "size=2m", claims(t, 1, 1<<20, tar.Header{Name: "./f000000", Size: 3 << 20}), ""},
		{"devices that stay out", "size=2m", claims(t, 1, 1<<20, tar.Header{Name: "./dev/x", Size: 3 << 20}), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := small(t, tt.fs)
			err := unpack.CheckSpace(t.Context(), tt.archive, dir, unpack.Options{})
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (!errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), tt.want)):
				t.Fatalf("want %q, got %v", tt.want, err)
			case tt.want != "" && (fault.Of(err) != fault.Failed || !strings.Contains(fault.HintOf(err), dir)):
				t.Errorf("kind %v, hint %q", fault.Of(err), fault.HintOf(err))
			}
			if n := count(t, dir); n != 0 {
				t.Errorf("%d names after a check", n)
			}
			if tt.want != "" {
				return
			}
			if _, err := unpack.Unpack(t.Context(), tt.archive, dir, unpack.Options{}); err != nil {
				t.Errorf("it was said to fit: %v", err)
			}
		})
	}
}

// headersOnly fails when it is read as a stream.
type headersOnly struct{ *bytes.Reader }

func (headersOnly) Read([]byte) (int, error) { return 0, errors.New("it was read as a stream") }

// TestCheckSpaceByFrames: what the frames can hold fits, so nothing is unpacked to
// add it up. Where it may not fit, the archive is read.
func TestCheckSpaceByFrames(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	var b bytes.Buffer
	f, err := vzdump.NewFrame(&b, vzdump.Fast, time.Unix(1700000000, 0), vzdump.NewMembers())
	must(t, err)
	must(t, f.AddConfig([]byte("arch: amd64\n")))
	must(t, f.Add(&vzdump.Entry{Path: ".", Type: vzdump.Dir, Mode: 0o755}, nil))
	must(t, f.Add(&vzdump.Entry{Path: "f", Type: vzdump.File, Mode: 0o644, Size: 1 << 20}, bytes.NewReader(make([]byte, 1<<20))))
	must(t, f.Finish())
	must(t, unpack.CheckSpace(t.Context(), headersOnly{bytes.NewReader(b.Bytes())}, small(t, "size=64m,nr_inodes=20000"), unpack.Options{}))
	for _, options := range []string{"size=3m,nr_inodes=20000", "size=64m,nr_inodes=100"} {
		if err := unpack.CheckSpace(t.Context(), headersOnly{bytes.NewReader(b.Bytes())}, small(t, options), unpack.Options{}); err == nil {
			t.Errorf("%s: not read", options)
		}
		must(t, unpack.CheckSpace(t.Context(), bytes.NewReader(b.Bytes()), small(t, options), unpack.Options{}))
	}
}

// TestCheckSpaceOfHoles: a hole takes no space.
func TestCheckSpaceOfHoles(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	src := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(src, "etc/vzdump"), 0o755))
	must(t, os.WriteFile(filepath.Join(src, vzdump.ConfigPath), []byte("arch: amd64\n"), 0o644))
	f, err := os.Create(filepath.Join(src, "sparse"))
	must(t, err)
	_, err = f.WriteAt([]byte("end"), 300<<20)
	must(t, errors.Join(err, f.Close()))
	path := filepath.Join(t.TempDir(), "a.tar")
	tool(t, "tar", "--create", "--file", path, "--format=posix", "--sparse", "--directory", src, "./etc/vzdump/pct.conf", "./sparse")
	in := open(t, path)
	dir := small(t, "size=1m")
	must(t, unpack.CheckSpace(t.Context(), in, dir, unpack.Options{}))
	if _, err := unpack.Unpack(t.Context(), in, dir, unpack.Options{}); err != nil {
		t.Error(err)
	}
}

// TestSpaceWhileUnpacking: a pipe cannot be read twice, so each member is
// compared with what is free before any of it is written.
func TestSpaceWhileUnpacking(t *testing.T) {
	if !isolate.Test(t) {
		return
	}
	for _, tt := range []struct {
		name, fs string
		archive  *bytes.Reader
		written  int // names, the configuration's directory included
		want     string
	}{
		{"bytes", "size=4m", claims(t, 10, 1<<20), 4, `member "./f000003": it needs 1.0 MiB, and`},
		{"one file", "size=4m", claims(t, 1, 64<<20), 1, `member "./f000000": it needs 64.0 MiB, and`},
		{"inodes", "size=4m,nr_inodes=10", claims(t, 20, 0), 7, `member "./f000006": it needs 1 inodes, and 0 are free`},
		{"implied directories", "size=4m,nr_inodes=10", claims(t, 0, 0, deep(20)...), 2, "inodes, and 0 are free"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := small(t, tt.fs)
			_, err := unpack.Unpack(t.Context(), struct{ *pipe }{&pipe{tt.archive}}, dir, unpack.Options{})
			if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("want %q, got %v", tt.want, err)
			}
			if fault.Of(err) != fault.Failed || !strings.Contains(fault.HintOf(err), filepath.Dir(dir)) {
				t.Errorf("kind %v, hint %q", fault.Of(err), fault.HintOf(err))
			}
			if n := count(t, dir); n != tt.written {
				t.Errorf("%d names, want %d", n, tt.written)
			}
		})
	}
}

// pipe has no Seek.
type pipe struct{ r *bytes.Reader }

func (p *pipe) Read(b []byte) (int, error) { return p.r.Read(b) }

// deep returns a file below n directories that have no member of their own.
func deep(n int) []tar.Header {
	var list []tar.Header
	for left := n; left > 0; left -= 100 {
		list = append(list, tar.Header{Name: fmt.Sprintf("./d%d/%sf", left, strings.Repeat("a/", min(left, 100)-1)), Mode: 0o644})
	}
	return list
}

// links returns symlinks whose text does not fit in an inode.
func links(n int) []tar.Header {
	list := make([]tar.Header, n)
	for i := range list {
		list[i] = tar.Header{Name: fmt.Sprintf("./l%d", i), Typeflag: tar.TypeSymlink, Linkname: strings.Repeat("x", 300), Mode: 0o777}
	}
	return list
}
