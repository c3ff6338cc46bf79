package verify_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/golden/internal/verify"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// frontPaths are in the first frame of a spliced sample, as a build's overlay is.
var frontPaths = []string{
	vzdump.ConfigPath, vzdump.FirewallPath, ".", "etc", "etc/felhom", "etc/felhom/own", "etc/machine-id", "usr", "usr/sbin", "usr/sbin/felhom-controller-bootstrap",
}

// spliced returns a sample in two frames, the first with frontPaths and more, and where the second begins.
func spliced(t testing.TB, edit func(s *sample), more ...tar.Header) (data []byte, seam int64) {
	t.Helper()
	s := good()
	s.dir("etc/felhom", 0o755)
	s.put("etc/felhom/own", 0o600, "ghp_"+strings.Repeat("a", 36))
	s.put("root/later", 0o644, "ghp_"+strings.Repeat("b", 36)+" buildhost1")
	s.put("etc/later", 0o666, "buildhost1")
	s.put("usr/bin/odd", 0o4755, elfFile(arm64, "/lib/ld-none.so"))
	sorted := s.order
	s.order = func(a, b string) int {
		inFront := func(p string) int {
			if slices.Contains(frontPaths, p) {
				return 0
			}
			return 1
		}
		if d := inFront(a) - inFront(b); d != 0 {
			return d
		}
		return sorted(a, b)
	}
	edit(s)
	return inTwo(t, s.bytes(t), more)
}

// inTwo packs a tar again, with what comes before the first member outside of
// frontPaths in a frame of its own, and more at the end of that.
func inTwo(t testing.TB, data []byte, more []tar.Header) (_ []byte, seam int64) {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(plain)
	in, cut := tar.NewReader(r), int64(0)
	for {
		h, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(h.Name, "./"), "/")
		if name != "" && !slices.Contains(frontPaths, name) {
			break
		}
		cut = int64(len(plain)-r.Len()) + (h.Size+511)/512*512
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true))
	if err != nil {
		t.Fatal(err)
	}
	begin := bytes.NewBuffer(bytes.Clone(plain[:cut]))
	out := tar.NewWriter(begin)
	for i := range more {
		h := more[i]
		h.Format, h.ModTime = tar.FormatPAX, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
		err := out.WriteHeader(&h)
		if err == nil {
			_, err = io.WriteString(out, strings.Repeat("x", int(h.Size)))
		}
		if err := errors.Join(err, out.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	front := enc.EncodeAll(begin.Bytes(), nil)
	return enc.EncodeAll(plain[cut:], bytes.Clone(front)), int64(len(front))
}

func splicedReport(t *testing.T, data []byte, opts verify.Options, splice verify.Splice) (verify.Report, []byte, error) {
	t.Helper()
	return verify.Spliced(t.Context(), bytes.NewReader(data), int64(len(data)), archiveName, opts, splice)
}

// An archive with the frames of another one behind another beginning has the report
// that it has when all of it is read.
func TestSplicedSaysTheSame(t *testing.T) {
	opts := verify.Options{BuildNames: []string{"buildhost1"}}
	first, seam := spliced(t, func(*sample) {})
	report, kept, err := splicedReport(t, first, opts, verify.Splice{Seam: seam, Program: "p"})
	if err != nil || len(kept) == 0 {
		t.Fatalf("want something to keep, got %d bytes, %v", len(kept), err)
	}
	whole, err := verify.Archive(t.Context(), bytes.NewReader(first), archiveName, opts)
	if err != nil || whole.Errors < 5 {
		t.Fatalf("want a sample that breaks rules in both parts, got %+v, %v", whole, err)
	}
	if d := cmp.Diff(whole, report); d != "" {
		t.Errorf("without anything kept (-whole +spliced):\n%s", d)
	}
	for name, edit := range map[string]func(s *sample){
		"the same": func(*sample) {},
		"another program": func(s *sample) {
			s.put("usr/sbin/felhom-controller-bootstrap", 0o755, elfFile(amd64, "/lib/x.so")+"more")
		},
		"another own file": func(s *sample) { s.put("etc/felhom/own", 0o644, "nothing") },
		"an id":            func(s *sample) { s.put("etc/machine-id", 0o444, strings.Repeat("a", 32)+"\n") },
		"no own file":      func(s *sample) { delete(s.members, "etc/felhom/own") },
		"no directory":     func(s *sample) { delete(s.members, "usr/sbin") },
		"a link to nowhere": func(s *sample) {
			delete(s.data, "etc/felhom/own")
			s.link("etc/felhom/own", "nowhere")
		},
		"another mode of etc": func(s *sample) { s.dir("etc", 0o700) },
		"other configuration": func(s *sample) { s.replace(vzdump.ConfigPath, "arch: amd64", "arch: arm64") },
		"a setgid directory":  func(s *sample) { s.dir("usr", 0o2755) },
		"an attribute": func(s *sample) {
			s.dir("usr", 0o755).PAXRecords = map[string]string{"SCHILY.xattr.user.x": "y"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			data, seam := spliced(t, edit)
			saysTheSame(t, data, opts, verify.Splice{Seam: seam, Program: "p", Kept: kept})
		})
	}
	file := func(name string, size int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size}
	}
	for name, more := range map[string]tar.Header{
		"a file that comes again":        file("./etc/hosts", 20),
		"a program that comes again":     file("./usr/bin/odd", 20),
		"a directory that comes again":   {Typeflag: tar.TypeDir, Name: "./var/", Mode: 0o755},
		"a link in place of a directory": {Typeflag: tar.TypeSymlink, Name: "./var", Linkname: "usr"},
		"a file in place of a directory": file("./var", 3),
		"a hard link to a later file":    {Typeflag: tar.TypeLink, Name: "./etc/felhom/link", Linkname: "./etc/passwd"},
		"a second configuration":         file("./usr/etc/vzdump/pct.conf", 4),
		"no parents":                     file("./opt/a/b/c", 700),
		"a pipe":                         {Typeflag: tar.TypeFifo, Name: "./etc/felhom/pipe", Mode: 0o666},
	} {
		t.Run(name, func(t *testing.T) {
			data, seam := spliced(t, func(*sample) {}, more)
			saysTheSame(t, data, opts, verify.Splice{Seam: seam, Program: "p", Kept: kept})
		})
	}
}

// saysTheSame compares what is said of data with and without reading all of it.
func saysTheSame(t *testing.T, data []byte, opts verify.Options, splice verify.Splice) {
	t.Helper()
	want, wantErr := verify.Archive(t.Context(), bytes.NewReader(data), archiveName, opts)
	got, more, err := splicedReport(t, data, opts, splice)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Errorf("error %v, want %v", err, wantErr)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-whole +spliced):\n%s", d)
	}
	if err == nil && more != nil {
		t.Error("all of it was read")
	}
}

// What was kept is not used where it may not hold.
func TestSplicedReadsAgain(t *testing.T) {
	opts := verify.Options{BuildNames: []string{"buildhost1"}}
	first, seam := spliced(t, func(*sample) {})
	_, kept, err := splicedReport(t, first, opts, verify.Splice{Seam: seam, Program: "p"})
	if err != nil {
		t.Fatal(err)
	}
	changed, changedSeam := spliced(t, func(s *sample) { s.put("usr/bin/odd", 0o755, "x") })
	damaged := bytes.Clone(kept)
	damaged[len(damaged)-1] ^= 1
	for name, c := range map[string]struct {
		data []byte
		opts verify.Options
		verify.Splice
	}{
		"other frames":      {changed, opts, verify.Splice{Seam: changedSeam, Program: "p", Kept: kept}},
		"other names":       {first, verify.Options{BuildNames: []string{"other"}}, verify.Splice{Seam: seam, Program: "p", Kept: kept}},
		"no names":          {first, verify.Options{}, verify.Splice{Seam: seam, Program: "p", Kept: kept}},
		"another program":   {first, opts, verify.Splice{Seam: seam, Program: "q", Kept: kept}},
		"a damaged byte":    {first, opts, verify.Splice{Seam: seam, Program: "p", Kept: damaged}},
		"a part of it":      {first, opts, verify.Splice{Seam: seam, Program: "p", Kept: kept[:len(kept)/2]}},
		"a few bytes":       {first, opts, verify.Splice{Seam: seam, Program: "p", Kept: kept[:5]}},
		"a seam off by one": {first, opts, verify.Splice{Seam: seam + 1, Program: "p", Kept: kept}},
		"a seam at 0":       {first, opts, verify.Splice{Program: "p", Kept: kept}},
		"a seam at the end": {first, opts, verify.Splice{Seam: int64(len(first)), Program: "p", Kept: kept}},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := verify.Archive(t.Context(), bytes.NewReader(c.data), archiveName, c.opts)
			if err != nil {
				t.Fatal(err)
			}
			got, more, err := splicedReport(t, c.data, c.opts, c.Splice)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-whole +spliced):\n%s", d)
			}
			if wantMore := c.Seam == seam || c.Seam == changedSeam; wantMore != (len(more) > 0) {
				t.Errorf("%d bytes to keep, want some: %v", len(more), wantMore)
			}
		})
	}
}

// Bytes that no frame has, and an archive that is not whole, are refused with and
// without something kept.
func TestSplicedRefuses(t *testing.T) {
	first, seam := spliced(t, func(*sample) {})
	_, kept, err := splicedReport(t, first, verify.Options{}, verify.Splice{Seam: seam, Program: "p"})
	if err != nil {
		t.Fatal(err)
	}
	broken := bytes.Clone(first)
	broken[seam/2] ^= 0xff
	for name, data := range map[string][]byte{"cut": first[:len(first)-3], "longer": append(bytes.Clone(first), 1, 2, 3, 4, 5), "front broken": broken} {
		if _, _, err := splicedReport(t, data, verify.Options{}, verify.Splice{Seam: seam, Program: "p", Kept: kept}); !errors.Is(err, vzdump.ErrCorrupt) && !errors.Is(err, vzdump.ErrTruncated) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}
