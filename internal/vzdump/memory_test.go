package vzdump_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

// TestMemoryDoesNotGrowWithNames reads 24 MB of names: what stays is a few
// bytes for each member.
func TestMemoryDoesNotGrowWithNames(t *testing.T) {
	const members = 8_000
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(writeManyNames(pw, members)) }()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r, err := vzdump.NewReader(pr, vzdump.Limits{Ratio: 1 << 20})
	must(t, err)
	defer r.Close()
	for {
		_, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if r.Facts().Entries != members {
		t.Errorf("%d members, want %d", r.Facts().Entries, members)
	}
	const limit = 16 << 20 // the decoder with its window, and some hundred bytes for each member
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > limit {
		t.Errorf("the heap has grown by %d bytes, want at most %d", grown, limit)
	}
	runtime.KeepAlive(r)
}

func writeManyNames(w io.Writer, n int) error {
	enc, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	tw := tar.NewWriter(enc)
	for i := range n {
		name := "./" + strings.Repeat(strings.Repeat("n", 250)+"/", 12) + fmt.Sprint(i)
		if err := tw.WriteHeader(&tar.Header{Format: tar.FormatPAX, Typeflag: tar.TypeReg, Name: name}); err != nil {
			return err
		}
	}
	return errors.Join(tw.Close(), enc.Close())
}
