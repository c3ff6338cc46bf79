package vzdump_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var day = time.Unix(86400, 0)

// makeTar writes a tar in the headers' own formats; PAX where none is set.
func makeTar(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Format == tar.FormatUnknown {
			h.Format = tar.FormatPAX
		}
		if h.ModTime.IsZero() && h.Typeflag != tar.TypeXGlobalHeader {
			h.ModTime = day
		}
		must(t, w.WriteHeader(&h))
		_, err := w.Write(make([]byte, h.Size))
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func packZstd(t testing.TB, data []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, opts...)
	must(t, err)
	_, err = w.Write(data)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func dir(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}
}

func file(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: 3}
}

// good is a small canonical archive.
func good() []tar.Header {
	return []tar.Header{
		file("./etc/vzdump/pct.conf"),
		{Name: "./etc/vzdump/pct.fw", Typeflag: tar.TypeReg},
		dir("./"), dir("./etc/"), file("./etc/passwd"), dir("./usr/"), dir("./usr/bin/"), file("./usr/bin/a"),
		{Name: "./usr/bin/b", Typeflag: tar.TypeLink, Linkname: "./usr/bin/a"},
		{Name: "./x", Typeflag: tar.TypeSymlink, Linkname: "/anywhere"},
	}
}

func readAll(r io.Reader, limits vzdump.Limits) (entries []vzdump.Entry, facts vzdump.Facts, err error) {
	ar, err := vzdump.NewReader(r, limits)
	if err != nil {
		return nil, facts, err
	}
	defer ar.Close()
	for {
		e, err := ar.Next()
		if errors.Is(err, io.EOF) {
			return entries, ar.Facts(), nil
		}
		if err != nil {
			return entries, ar.Facts(), err
		}
		entries = append(entries, *e)
		if _, err := io.Copy(io.Discard, ar); err != nil {
			return entries, ar.Facts(), err
		}
	}
}

func TestGoodArchive(t *testing.T) {
	plain := makeTar(t, good()...)
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	_, err := w.Write(plain)
	must(t, errors.Join(err, w.Close()))
	frames := packZstd(t, plain[:2048])
	frames = append(frames, 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c') // skippable
	frames = append(frames, packZstd(t, plain[2048:], zstd.WithEncoderCRC(false))...)
	cases := []struct {
		name string
		data []byte
		want vzdump.Facts
	}{
		{name: "plain", data: plain, want: vzdump.Facts{Compression: vzdump.None}},
		{name: "gzip", data: gz.Bytes(), want: vzdump.Facts{Compression: vzdump.Gzip}},
		{name: "zstd", data: packZstd(t, plain), want: vzdump.Facts{Compression: vzdump.Zstd, FrameCount: 1}},
		{name: "zstd frames", data: frames, want: vzdump.Facts{Compression: vzdump.Zstd, FrameCount: 3, Skippable: 1, NoChecksum: 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			entries, facts, err := readAll(iotest.OneByteReader(bytes.NewReader(c.data)), vzdump.Limits{})
			must(t, err)
			var got []string
			for _, e := range entries {
				got = append(got, e.Path+" "+e.Type.String()+" "+e.Link+e.Odd.String())
			}
			want := []string{
				"etc/vzdump/pct.conf file ", "etc/vzdump/pct.fw file ", ". directory ", "etc directory ", "etc/passwd file ", "usr directory ",
				"usr/bin directory ", "usr/bin/a file ", "usr/bin/b hard link usr/bin/a", "x symlink /anywhere",
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if facts.Compression != c.want.Compression || facts.FrameCount != c.want.FrameCount || facts.Skippable != c.want.Skippable || facts.NoChecksum != c.want.NoChecksum {
				t.Errorf("facts %+v, want %+v", facts, c.want)
			}
			if !facts.Complete || facts.Runs != 1 || facts.Entries != 10 || facts.Content != 9 || facts.Packed != int64(len(c.data)) || facts.Unpacked != int64(len(plain)) {
				t.Errorf("facts %+v", facts)
			}
			for i, f := range facts.Frames {
				if f.Offset < 0 || i > 0 && f.Offset <= facts.Frames[i-1].Offset || f.Window > 8<<20 {
					t.Errorf("frame %d: %+v", i, f)
				}
			}
		})
	}
}

func TestOddities(t *testing.T) {
	xattr := func(name string) tar.Header {
		h := file("./f")
		h.PAXRecords = map[string]string{"SCHILY.xattr." + name: "v"}
		return h
	}
	change := func(h tar.Header, f func(*tar.Header)) tar.Header {
		f(&h)
		return h
	}
	cases := []struct {
		name    string
		members []tar.Header
		want    vzdump.Oddity // of the last member
	}{
		{name: "allowed attribute", members: []tar.Header{xattr("user.x")}},
		{name: "device outside dev", members: []tar.Header{{Name: "./null", Typeflag: tar.TypeChar}}},
		{name: "control character", members: []tar.Header{file("./a\nb")}, want: vzdump.ControlChars},
		{name: "control character in a link", members: []tar.Header{{Name: "./l", Typeflag: tar.TypeSymlink, Linkname: "\x1b[0m"}}, want: vzdump.ControlChars},
		{name: "duplicate", members: []tar.Header{file("./f"), file("./f")}, want: vzdump.Duplicate},
		{name: "no parent", members: []tar.Header{file("./d/f")}, want: vzdump.NoParent},
		{name: "late directory", members: []tar.Header{file("./d/f"), dir("./d/")}, want: vzdump.LateDir},
		{name: "link to nothing", members: []tar.Header{{Name: "./l", Typeflag: tar.TypeLink, Linkname: "./no"}}, want: vzdump.BadLink},
		{name: "link to a directory", members: []tar.Header{dir("./d/"), {Name: "./l", Typeflag: tar.TypeLink, Linkname: "./d"}}, want: vzdump.BadLink},
		{name: "link to itself", members: []tar.Header{{Name: "./l", Typeflag: tar.TypeLink, Linkname: "./l"}}, want: vzdump.BadLink},
		{name: "below dev", members: []tar.Header{dir("./dev/"), file("./dev/f")}, want: vzdump.UnderDev},
		{name: "fraction", members: []tar.Header{change(file("./f"), func(h *tar.Header) { h.ModTime = time.Unix(1, 5) })}, want: vzdump.SubSecond},
		{name: "access time", members: []tar.Header{change(file("./f"), func(h *tar.Header) { h.AccessTime = day })}, want: vzdump.Times},
		{name: "owner name", members: []tar.Header{change(file("./f"), func(h *tar.Header) { h.Uname = "me" })}, want: vzdump.OwnerNames},
		{name: "other attribute", members: []tar.Header{xattr("trusted.x")}, want: vzdump.OtherXattr},
		{name: "unknown record", members: []tar.Header{change(file("./f"), func(h *tar.Header) { h.PAXRecords = map[string]string{"FELHOM.x": "1"} })}, want: vzdump.UnknownRecord},
	}
	var seen vzdump.Oddity
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			entries, facts, err := readAll(bytes.NewReader(makeTar(t, append([]tar.Header{dir("./")}, c.members...)...)), vzdump.Limits{})
			must(t, err)
			last := entries[len(entries)-1]
			if last.Odd != c.want || !facts.Odd.Has(c.want) {
				t.Errorf("odd: %s, want %s", last.Odd, c.want)
			}
			seen |= c.want
		})
	}
	// GNU tar makes the sparse ones: internal/unpack.
	for _, o := range vzdump.Oddities() {
		if !seen.Has(o) && o != vzdump.Sparse {
			t.Errorf("no case for %s", o)
		}
		if o.String() == "?" {
			t.Errorf("oddity %b has no name", o)
		}
	}
}

// giantRecord is a pax header of 512 MiB, which archive/tar would not write,
// packed to a few bytes.
func giantRecord(t *testing.T) []byte {
	t.Helper()
	header := make([]byte, 512)
	copy(header, "./PaxHeaders/f")
	copy(header[100:], "0000644\x000000000\x000000000\x0004000000000\x0000000000000\x00        x")
	copy(header[257:], "ustar\x0000")
	sum := 0
	for _, c := range header {
		sum += int(c)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	return packZstd(t, append(header, make([]byte, 4<<20)...))
}

// windowFrame is an empty zstd frame with a window of 1<<log bytes.
func windowFrame(log byte) []byte {
	return []byte{0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3, 1, 0, 0}
}

func TestRefused(t *testing.T) {
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	hard := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
	}
	canonical := makeTar(t, good()...)
	packed := packZstd(t, canonical)
	flipped := bytes.Clone(packed)
	flipped[len(flipped)-1] ^= 1 // its checksum
	cases := []struct {
		name    string
		members []tar.Header
		data    []byte
		limits  vzdump.Limits
		want    error
	}{
		{name: "absolute name", members: []tar.Header{file("/etc/passwd")}, want: vzdump.ErrEscape},
		{name: "dots", members: []tar.Header{file("./a/../../b")}, want: vzdump.ErrEscape},
		{name: "dots at the end", members: []tar.Header{dir("./a/..")}, want: vzdump.ErrEscape},
		{name: "below a symlink", members: []tar.Header{link("./l", "/etc"), file("./l/passwd")}, want: vzdump.ErrEscape},
		{name: "deep below a symlink", members: []tar.Header{link("./l", "/etc"), file("./l/a/b/c")}, want: vzdump.ErrEscape},
		{name: "below a hard link to a symlink", members: []tar.Header{link("./l", "/etc"), hard("./h", "./l"), file("./h/passwd")}, want: vzdump.ErrEscape},
		{name: "below a file", members: []tar.Header{file("./f"), file("./f/x")}, want: vzdump.ErrUnsupported},
		{name: "hard link out", members: []tar.Header{hard("./h", "../x")}, want: vzdump.ErrEscape},
		{name: "hard link to an absolute name", members: []tar.Header{hard("./h", "/etc/shadow")}, want: vzdump.ErrEscape},
		{name: "hard link through a symlink", members: []tar.Header{link("./l", "/etc"), hard("./h", "./l/shadow")}, want: vzdump.ErrEscape},
		{name: "root is a symlink", members: []tar.Header{link("./", "/")}, want: vzdump.ErrUnsupported},
		{name: "symlink to nothing", members: []tar.Header{link("./l", "")}, want: vzdump.ErrCorrupt},
		{name: "file that tar takes for a directory", members: []tar.Header{link("./f/", "x")}, want: vzdump.ErrUnsupported},
		{name: "long component", members: []tar.Header{file("./" + strings.Repeat("n", 256))}, want: vzdump.ErrLimit},
		{name: "long name", members: []tar.Header{file("./" + strings.Repeat("n/", 2100) + "x")}, want: vzdump.ErrLimit},
		{name: "long link", members: []tar.Header{link("./l", strings.Repeat("n", 5000))}, want: vzdump.ErrLimit},
		{name: "many records", members: []tar.Header{{Name: "./f", PAXRecords: map[string]string{"SCHILY.xattr.user.x": strings.Repeat("x", 300<<10)}}}, want: vzdump.ErrLimit},
		{name: "giant record", data: giantRecord(t), want: vzdump.ErrLimit},
		{name: "global record", members: []tar.Header{{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "x"}}}, want: vzdump.ErrUnsupported},
		{name: "volume of several", members: []tar.Header{{Name: "./f", PAXRecords: map[string]string{"GNU.volume.filename": "x"}}}, want: vzdump.ErrUnsupported},
		{name: "two configurations", members: []tar.Header{file("./etc/vzdump/pct.conf"), file("./etc/vzdump/pct.conf")}, want: vzdump.ErrTwoConfigs},
		{name: "second configuration by its end", members: []tar.Header{file("./x./etc/vzdump/pct.conf"), file("./etc/vzdump/pct.conf")}, want: vzdump.ErrTwoConfigs},
		{name: "second configuration of old", members: []tar.Header{file("./etc/vzdump/pct.conf"), file("./etc/vzdump/vps.conf")}, want: vzdump.ErrTwoConfigs},
		{name: "too many members", members: good(), limits: vzdump.Limits{Entries: 9}, want: vzdump.ErrLimit},
		{name: "too many implied directories", members: []tar.Header{file("./" + strings.Repeat("n/", 50) + "x"), file("./y")}, limits: vzdump.Limits{Entries: 50}, want: vzdump.ErrLimit},
		{name: "too much content", members: good(), limits: vzdump.Limits{Unpacked: 8}, want: vzdump.ErrLimit},
		{name: "ratio", data: packZstd(t, makeTar(t, tar.Header{Name: "./zeros", Typeflag: tar.TypeReg, Size: 65 << 20})), want: vzdump.ErrLimit},
		{name: "no dot slash", members: []tar.Header{file("f")}, want: vzdump.ErrUnsupported},
		{name: "double slash", members: []tar.Header{dir("./d/"), file("./d//f")}, want: vzdump.ErrUnsupported},
		{name: "double slash in the configuration", members: []tar.Header{file(".//etc/vzdump/pct.conf")}, want: vzdump.ErrUnsupported},
		{name: "configuration without dot", members: []tar.Header{file("etc/vzdump/pct.conf")}, want: vzdump.ErrUnsupported},
		{name: "configuration is a link", members: []tar.Header{link("./etc/vzdump/pct.conf", "/etc/shadow")}, want: vzdump.ErrUnsupported},
		{name: "firewall is a link", members: []tar.Header{link("./etc/vzdump/pct.fw", "x")}, want: vzdump.ErrUnsupported},
		{name: "dot inside", members: []tar.Header{file("././f")}, want: vzdump.ErrUnsupported},
		{name: "directory without slash", members: []tar.Header{dir("./d")}, want: vzdump.ErrUnsupported},
		{name: "gnu dialect", members: []tar.Header{{Name: "./f", Typeflag: tar.TypeReg, Format: tar.FormatGNU}}, want: vzdump.ErrUnsupported},
		{name: "global comment", members: []tar.Header{{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}}, want: vzdump.ErrUnsupported},
		{name: "deep name", members: []tar.Header{file("./" + strings.Repeat("n/", 256) + "x")}, want: vzdump.ErrLimit},
		{name: "implied directories", members: []tar.Header{file("./a/b/x")}, limits: vzdump.Limits{Implied: 1}, want: vzdump.ErrLimit},
		{name: "texts of all members", members: []tar.Header{file("./a"), file("./b"), file("./c")}, limits: vzdump.Limits{Texts: 8}, want: vzdump.ErrLimit},
		{name: "window", data: windowFrame(28), want: vzdump.ErrLimit},
		{name: "window by option", data: windowFrame(21), limits: vzdump.Limits{Window: 1 << 20}, want: vzdump.ErrLimit},
		{name: "dictionary", data: []byte{0x28, 0xb5, 0x2f, 0xfd, 0x21, 7, 0, 1, 0, 0}, want: vzdump.ErrUnsupported},
		{name: "reserved block", data: []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 7, 0, 0}, want: vzdump.ErrCorrupt},
		{name: "empty", data: []byte{}, want: vzdump.ErrTruncated},
		{name: "noise", data: bytes.Repeat([]byte("noise"), 500), want: vzdump.ErrCorrupt},
		{name: "noise after a frame", data: append(bytes.Clone(packed), "noise"...), want: vzdump.ErrCorrupt},
		{name: "xz", data: []byte("\xfd7zXZ\x00rest"), want: vzdump.ErrUnsupported},
		{name: "lzo", data: []byte("\x89LZO\x00\r\n"), want: vzdump.ErrUnsupported},
		{name: "checksum", data: flipped, want: vzdump.ErrCorrupt},
		{name: "no end marker", data: packZstd(t, canonical[:len(canonical)-1024]), want: vzdump.ErrTruncated},
		{name: "half an end marker", data: packZstd(t, canonical[:len(canonical)-512]), want: vzdump.ErrTruncated},
		{name: "ends in a header", data: packZstd(t, canonical[:1700]), want: vzdump.ErrTruncated},
		{name: "gzip cut", data: []byte{0x1f, 0x8b, 8, 0, 0}, want: vzdump.ErrTruncated},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.data == nil {
				c.data = makeTar(t, c.members...)
			}
			_, _, err := readAll(bytes.NewReader(c.data), c.limits)
			if !errors.Is(err, c.want) || fault.Of(err) != fault.Invalid {
				t.Errorf("error %v, class %s, want refused: %v", err, fault.Of(err), c.want)
			}
		})
	}
}

func TestEveryCutIsNoticed(t *testing.T) {
	packed := packZstd(t, makeTar(t, good()...))
	for n := range packed {
		if _, _, err := readAll(bytes.NewReader(packed[:n]), vzdump.Limits{}); fault.Of(err) != fault.Invalid {
			t.Fatalf("cut at %d of %d: error %v", n, len(packed), err)
		}
	}
}

func TestSourceErrorIsNotARefusal(t *testing.T) {
	broken := errors.New("disk on fire")
	packed := packZstd(t, makeTar(t, good()...))
	_, _, err := readAll(io.MultiReader(bytes.NewReader(packed[:100]), iotest.ErrReader(broken)), vzdump.Limits{})
	if !errors.Is(err, broken) || fault.Of(err) != fault.Failed {
		t.Errorf("error %v, class %s", err, fault.Of(err))
	}
}

func TestTrailingDataIsRefused(t *testing.T) {
	plain := makeTar(t, good()...)
	for _, data := range [][]byte{append(bytes.Clone(plain), makeTar(t, file("./hidden"))...), append(bytes.Clone(plain), make([]byte, 3)...), append(bytes.Clone(plain), 1)} {
		if _, _, err := readAll(bytes.NewReader(packZstd(t, data)), vzdump.Limits{}); fault.Of(err) != fault.Invalid {
			t.Errorf("%d bytes after the end: error %v, want refused", len(data)-len(plain), err)
		}
	}
}

func TestRunsCountsWhereTheOrderTurns(t *testing.T) {
	_, facts, err := readAll(bytes.NewReader(makeTar(t, dir("./"), dir("./a/"), file("./a/z"), file("./a-b"), file("./b"), file("./a.c"))), vzdump.Limits{})
	must(t, err)
	if facts.Runs != 2 {
		t.Errorf("%d runs, want 2", facts.Runs)
	}
}

func TestNext_AfterAnErrorStaysThere(t *testing.T) {
	ar, err := vzdump.NewReader(bytes.NewReader(makeTar(t, file("/x"), file("./y"))), vzdump.Limits{})
	must(t, err)
	defer ar.Close()
	_, first := ar.Next()
	if _, second := ar.Next(); first == nil || !errors.Is(second, first) {
		t.Errorf("first %v, then %v", first, second)
	}
}

func FuzzReader(f *testing.F) {
	plain := makeTar(f, good()...)
	seeds := [][]byte{
		plain, packZstd(f, plain), packZstd(f, makeTar(f, file("./../x"))),
		makeTar(f, tar.Header{Name: "./f", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "1"}}), makeTar(f, tar.Header{Name: "./f", Format: tar.FormatGNU}),
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, facts, err := readAll(bytes.NewReader(data), vzdump.Limits{Entries: 1000, Unpacked: 64 << 20, Window: 1 << 20})
		for _, e := range entries {
			if e.Path == "" || e.Path[0] == '/' || strings.Contains("/"+e.Path+"/", "/../") || e.UID < 0 || e.Size < 0 {
				t.Errorf("entry %+v", e)
			}
		}
		if err == nil && !facts.Complete {
			t.Error("the end without an error and without all facts")
		}
		if err != nil && fault.Of(err) != fault.Invalid {
			t.Errorf("error %v is not a refusal", err)
		}
	})
}
