package vzdump_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

func TestMostUnpacked(t *testing.T) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true))
	must(t, err)
	one, two := enc.EncodeAll(make([]byte, 3000), nil), enc.EncodeAll(make([]byte, 500_000), nil)
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0}, "abc"...)
	var stream bytes.Buffer
	w, err := zstd.NewWriter(&stream)
	must(t, err)
	_, err = w.Write(make([]byte, 5<<20)) // its header says no size
	must(t, errors.Join(err, w.Close()))
	for _, c := range []struct {
		name string
		data []byte
		want int64
		ok   bool
	}{
		{"frames", bytes.Join([][]byte{one, skippable, two, one}, nil), 506_000, true},
		{"a frame without a size", bytes.Join([][]byte{one, stream.Bytes()}, nil), 0, false},
		{"cut in a block", two[:len(two)-8], 0, false},
		{"cut in a header", append(bytes.Clone(one), two[:5]...), 0, false},
		{"bytes after the last frame", append(bytes.Clone(one), 0), 0, false},
		{"skippable frame that is cut", append(bytes.Clone(one), skippable[:9]...), 0, false},
		{"more frames than are kept", bytes.Repeat(one, 300), 0, false},
		{"not zstd", make([]byte, 4096), 0, false},
		{"empty", nil, 0, true},
	} {
		got, ok := vzdump.MostUnpacked(bytes.NewReader(c.data), int64(len(c.data)))
		if got != c.want || ok != c.ok {
			t.Errorf("%s: want %d %v, got %d %v", c.name, c.want, c.ok, got, ok)
		}
	}
}

// A frame that says less than it holds is refused when it is read, so that what
// MostUnpacked says is the most.
func TestFrameHoldsNoMoreThanItSays(t *testing.T) {
	var b bytes.Buffer
	frame, err := vzdump.NewFrame(&b, vzdump.Fast, day, vzdump.NewMembers())
	must(t, err)
	must(t, frame.AddConfig([]byte("arch: amd64\n")))
	root, f := entry(".", vzdump.Dir), entry("f", vzdump.File)
	f.Size = 400 << 10
	must(t, frame.Add(&root, nil))
	must(t, frame.Add(&f, newText()))
	must(t, frame.Finish())
	data := b.Bytes()
	if data[4] != 0xa4 { // four bytes of size, single segment, checksum
		t.Fatalf("frame header %x", data[:10])
	}
	size, ok := vzdump.MostUnpacked(bytes.NewReader(data), int64(len(data)))
	if !ok || size < f.Size {
		t.Fatalf("says %d, %v", size, ok)
	}
	for _, less := range []uint32{1, 300 << 10, uint32(size) - 1} {
		binary.LittleEndian.PutUint32(data[5:], less)
		r, err := vzdump.NewReader(bytes.NewReader(data), vzdump.Limits{})
		for err == nil {
			if _, err = r.Next(); err == nil {
				_, err = io.Copy(io.Discard, r)
			}
		}
		if errors.Is(err, io.EOF) {
			t.Errorf("read to the end with %d announced", less)
		}
	}
}

// countingReaderAt counts how often it is read.
type countingReaderAt struct {
	*bytes.Reader
	reads int
}

func (c *countingReaderAt) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	return c.Reader.ReadAt(p, off)
}

// A frame can have an empty block in each three bytes. Reading every header of such
// an archive would take minutes in which nothing can interrupt it.
func TestMostUnpackedGivesUp(t *testing.T) {
	data := make([]byte, 6+12<<20) // a header of a single segment without content, and empty raw blocks
	copy(data, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00})
	data[len(data)-3] = 1 // the last one
	r := &countingReaderAt{Reader: bytes.NewReader(data)}
	if n, ok := vzdump.MostUnpacked(r, int64(len(data))); ok || r.reads > 2<<20 {
		t.Errorf("got %d, %v after %d reads; want it to give up", n, ok, r.reads)
	}
}
