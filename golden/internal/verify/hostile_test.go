package verify_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/golden/internal/verify"
	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/vzdump"
)

// stream writes an archive without end in the background, so that a bomb needs
// no memory of the test's.
func stream(t *testing.T, write func(*tar.Writer) error) io.Reader {
	t.Helper()
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		zw, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err == nil {
			tw := tar.NewWriter(zw)
			err = errors.Join(write(tw), tw.Close(), zw.Close())
		}
		_ = w.CloseWithError(err) // the reader has gone away: that is the test
	}()
	t.Cleanup(func() {
		_ = r.Close()
		<-done
	})
	return r
}

func member(tw *tar.Writer, h tar.Header) error {
	if h.Mode == 0 {
		h.Mode = 0o644
	}
	h.Format = tar.FormatPAX
	return tw.WriteHeader(&h)
}

// maxHeap is 64 MiB in use, and as much again that the collector has not
// looked at: the writers of the bombs run in the same process.
const maxHeap = 128 << 20

func TestHostileArchivesAreRefused(t *testing.T) {
	configMember := tar.Header{Typeflag: tar.TypeReg, Name: "./" + vzdump.ConfigPath}
	good := good().bytes(t)
	for _, tt := range []struct {
		name string
		in   func(t *testing.T) io.Reader
		want error
	}{
		{"escaping name", func(t *testing.T) io.Reader {
			return stream(t, func(tw *tar.Writer) error {
				return member(tw, tar.Header{Typeflag: tar.TypeReg, Name: "./../etc/passwd"})
			})
		}, vzdump.ErrEscape},
		{"below a link", func(t *testing.T) io.Reader {
			return stream(t, func(tw *tar.Writer) error {
				return errors.Join(member(tw, tar.Header{Typeflag: tar.TypeSymlink, Name: "./a", Linkname: "/etc"}), member(tw, tar.Header{Typeflag: tar.TypeReg, Name: "./a/passwd"}))
			})
		}, vzdump.ErrEscape},
		{"hard link out", func(t *testing.T) io.Reader {
			return stream(t, func(tw *tar.Writer) error {
				return member(tw, tar.Header{Typeflag: tar.TypeLink, Name: "./a", Linkname: "../../etc/shadow"})
			})
		}, vzdump.ErrEscape},
		{"two configs", func(t *testing.T) io.Reader {
			return stream(t, func(tw *tar.Writer) error { return errors.Join(member(tw, configMember), member(tw, configMember)) })
		}, vzdump.ErrTwoConfigs},
		{"truncated", func(*testing.T) io.Reader { return bytes.NewReader(good[:len(good)*2/3]) }, vzdump.ErrTruncated},
		{"flipped bit", func(*testing.T) io.Reader {
			bad := bytes.Clone(good)
			bad[len(bad)/2] ^= 1
			return bytes.NewReader(bad)
		}, vzdump.ErrCorrupt},
		{"not an archive", func(*testing.T) io.Reader { return strings.NewReader(strings.Repeat("hello\n", 1000)) }, nil},
		{"bomb by ratio", func(t *testing.T) io.Reader {
			return stream(t, func(tw *tar.Writer) error {
				zeros := make([]byte, 1<<20)
				for i := 0; ; i++ {
					if err := member(tw, tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("./%d", i), Size: 1 << 20}); err != nil {
						return err
					}
					if _, err := tw.Write(zeros); err != nil {
						return err
					}
				}
			})
		}, vzdump.ErrLimit},
		{"bomb by count", func(t *testing.T) io.Reader {
			return stream(t, func(tw *tar.Writer) error {
				for i := 0; ; i++ {
					if err := member(tw, tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("./%032x", i*0x9E3779B97F4A7C1)}); err != nil {
						return err
					}
				}
			})
		}, vzdump.ErrLimit},
		{"giant pax header", func(t *testing.T) io.Reader {
			return stream(t, func(tw *tar.Writer) error {
				return member(tw, tar.Header{Typeflag: tar.TypeReg, Name: "./a", PAXRecords: map[string]string{"VENDOR.x": strings.Repeat("x", 900<<10)}})
			})
		}, vzdump.ErrLimit},
		{"settings without end", func(t *testing.T) io.Reader {
			return stream(t, func(tw *tar.Writer) error {
				noise := make([]byte, 200<<10)
				for i := range noise {
					noise[i] = byte(i*i>>3 ^ i)
				}
				for i := 0; ; i++ {
					if err := member(tw, tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("./etc/%d", i), Size: int64(len(noise))}); err != nil {
						return err
					}
					noise[i%len(noise)]++
					if _, err := tw.Write(noise); err != nil {
						return err
					}
				}
			})
		}, vzdump.ErrLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := tt.in(t)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			report, err := verify.Archive(t.Context(), in, archiveName, verify.Options{})
			runtime.ReadMemStats(&after)
			if fault.Of(err) != fault.Invalid || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v (class %v), report %+v; want class refused, %v", err, fault.Of(err), report.Findings, tt.want)
			}
			// What the runtime took from the system is a bound for what was in use at any time.
			t.Logf("heap grew by %d MiB", (int64(after.HeapSys)-int64(before.HeapSys))>>20)
			if got := after.HeapSys; got > maxHeap {
				t.Errorf("%d MiB of heap, want at most %d", got>>20, maxHeap>>20)
			}
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, opts := range []verify.Options{{Profile: "x"}, {Enable: []string{"nope"}}, {Skip: []string{"nope"}}, {Enable: []string{"logs"}, Skip: []string{"logs"}}} {
		if _, err := verify.Archive(t.Context(), strings.NewReader(""), archiveName, opts); fault.Of(err) != fault.Misuse || fault.HintOf(err) == "" {
			t.Errorf("%+v: %v, want misuse and a hint", opts, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := verify.Archive(ctx, bytes.NewReader(good().bytes(t)), archiveName, verify.Options{}); fault.Of(err) != fault.Interrupted {
		t.Errorf("cancelled: %v, want class interrupted", err)
	}
}

// TestAttributesTakeNoMemory reads what has many, large or many large extended
// attributes, and one file of 300 GB that is one hole. None of it is kept.
func TestAttributesTakeNoMemory(t *testing.T) {
	for _, c := range []struct {
		name     string
		members  int
		per, len int // attributes of each member, and bytes of each
	}{
		{"many attributes", 100, 2000, 8},
		{"large attributes", 200, 4, 60_000},
		{"one small one in a large header", 300, 1, 200_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := stream(t, func(tw *tar.Writer) error {
				for i := range c.members {
					records := map[string]string{}
					for n := range c.per {
						value := make([]byte, c.len)
						for k := range value {
							value[k] = byte(k*k>>3 ^ k ^ i ^ n)
						}
						records[fmt.Sprintf("SCHILY.xattr.user.%d", n)] = string(value)
					}
					if err := member(tw, tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("./%d", i), PAXRecords: records}); err != nil {
						return err
					}
				}
				return nil
			})
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			if _, err := verify.Archive(t.Context(), in, archiveName, verify.Options{Enable: []string{"times"}}); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if got := after.HeapSys; got > maxHeap {
				t.Errorf("%d MiB of heap, want at most %d", got>>20, maxHeap>>20)
			}
		})
	}
}

func TestHugeHoleTakesNoTime(t *testing.T) {
	const size = 300 << 30
	var b bytes.Buffer
	for _, part := range []struct {
		flag       byte
		name, data string
	}{
		{'x', "./PaxHeaders/f", "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n23 GNU.sparse.name=./f\n" + fmt.Sprintf("36 GNU.sparse.realsize=%d\n", size)},
		{'0', "./GNUSparseFile.1/f", fmt.Sprintf("1\n%d\n0\n", size)},
	} {
		if part.flag == '0' {
			part.data += strings.Repeat("\x00", -len(part.data)&511)
		}
		h := make([]byte, 512)
		copy(h, part.name)
		copy(h[100:], fmt.Sprintf("0000644\x000000000\x000000000\x00%011o\x0000000000000\x00        %c", len(part.data), part.flag))
		copy(h[257:], "ustar\x0000")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		b.Write(h)
		b.WriteString(part.data)
		b.Write(make([]byte, -len(part.data)&511))
	}
	b.Write(make([]byte, 1024))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // hashing 300 GB takes many
	defer cancel()
	report, err := verify.Archive(ctx, &b, archiveName, verify.Options{})
	if err != nil || !slices.ContainsFunc(report.Findings, func(f verify.Finding) bool { return f.Rule == "member-types" && f.Path == "/f" }) {
		t.Errorf("error %v, want a finding about the sparse file", err)
	}
}
