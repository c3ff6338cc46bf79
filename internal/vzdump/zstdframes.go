package vzdump

import (
	"encoding/binary"
	"errors"
	"io"
)

// frameWalker passes a zstd stream through and reads its structure (RFC 8878,
// 3.1): frame headers and block sizes, nothing inside blocks. It exists because
// a decoder shows nothing about the frames that it read, and because a window
// must be refused before it is allocated.
type frameWalker struct {
	r      io.Reader
	limits Limits
	facts  *Facts
	offset int64 // of the next byte to look at
	err    error

	state    walkState
	buf      [16]byte // the fixed-size part being collected
	have     int
	need     int
	skip     int64 // bytes to skip before the next part
	checksum bool
	last     bool // the current block is the frame's last
}

type walkState uint8

const (
	atMagic walkState = iota
	atSkippableSize
	atDescriptor
	atHeader
	atBlock
	atChecksum
)

const (
	magicFrame         = 0xFD2FB528
	magicSkippable     = 0x184D2A50 // the low four bits are free
	magicSkippableMask = 0xFFFFFFF0
)

func newFrameWalker(r io.Reader, limits Limits, facts *Facts) *frameWalker {
	return &frameWalker{r: r, limits: limits, facts: facts, need: 4}
}

func (w *frameWalker) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.r.Read(p)
	if walkErr := w.walk(p[:n]); walkErr != nil {
		w.err = walkErr
		return 0, walkErr
	}
	if errors.Is(err, io.EOF) && !w.atBoundary() {
		err = refuse(ErrTruncated, "", "the last zstd frame is not complete after %d bytes", w.offset)
	}
	w.err = err
	return n, err
}

func (w *frameWalker) atBoundary() bool { return w.state == atMagic && w.have == 0 && w.skip == 0 }

func (w *frameWalker) walk(p []byte) error {
	for len(p) > 0 {
		if w.skip > 0 {
			n := min(w.skip, int64(len(p)))
			w.skip -= n
			w.offset += n
			p = p[n:]
			continue
		}
		n := copy(w.buf[w.have:w.need], p)
		w.have += n
		w.offset += int64(n)
		p = p[n:]
		if w.have == w.need {
			w.have = 0
			if err := w.part(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *frameWalker) expect(s walkState, n int) { w.state, w.need = s, n }

// part handles one complete fixed-size part.
func (w *frameWalker) part() error {
	switch w.state {
	case atMagic:
		return w.magic(binary.LittleEndian.Uint32(w.buf[:]))
	case atSkippableSize:
		w.skip = int64(binary.LittleEndian.Uint32(w.buf[:]))
		w.expect(atMagic, 4)
	case atDescriptor:
		size := descriptor(w.buf[0]).headerSize()
		if size == 0 {
			return w.header()
		}
		w.have = 1 // keep the descriptor
		w.expect(atHeader, 1+size)
	case atHeader:
		return w.header()
	case atBlock:
		h := uint32(w.buf[0]) | uint32(w.buf[1])<<8 | uint32(w.buf[2])<<16
		w.last = h&1 != 0
		switch size := int64(h >> 3); (h >> 1) & 3 {
		case 0, 2: // raw, compressed
			w.skip = size
		case 1: // one byte, repeated size times
			w.skip = 1
		default:
			return refuse(ErrCorrupt, "", "reserved zstd block type at offset %d", w.offset-3)
		}
		switch {
		case !w.last:
			w.expect(atBlock, 3)
		case w.checksum:
			w.expect(atChecksum, 4)
		default:
			w.expect(atMagic, 4)
		}
	case atChecksum:
		w.expect(atMagic, 4)
	}
	return nil
}

func (w *frameWalker) magic(m uint32) error {
	switch {
	case m == magicFrame:
		w.expect(atDescriptor, 1)
	case m&magicSkippableMask == magicSkippable:
		w.facts.append(FrameFacts{Offset: w.offset - 4, ContentSize: -1, Skippable: true})
		w.expect(atSkippableSize, 4)
	default:
		return refuse(ErrCorrupt, "", "no zstd frame at offset %d: want magic %08x, got %08x", w.offset-4, uint32(magicFrame), m)
	}
	return nil
}

func (w *frameWalker) header() error {
	d := descriptor(w.buf[0])
	f := FrameFacts{Offset: w.offset - int64(w.need) - 4, ContentSize: -1, Checksum: d&4 != 0}
	if d&8 != 0 {
		return refuse(ErrCorrupt, "", "reserved bit in the zstd frame header at offset %d", f.Offset)
	}
	rest := w.buf[1:w.need]
	if !d.singleSegment() {
		exp, mantissa := uint(rest[0]>>3), int64(rest[0]&7)
		base := int64(1) << (10 + exp)
		f.Window = base + base/8*mantissa
		rest = rest[1:]
	}
	dict := rest[:d.dictSize()]
	for _, b := range dict {
		if b != 0 {
			return refuse(ErrUnsupported, "", "the zstd frame at offset %d needs a dictionary (id %x, little-endian)", f.Offset, dict)
		}
	}
	rest = rest[len(dict):]
	if size := littleEndian(rest[:d.contentSizeSize()]); d.contentSizeSize() > 0 {
		if d.contentSizeSize() == 2 {
			size += 256
		}
		if size > 1<<62 {
			return refuse(ErrLimit, "", "the zstd frame at offset %d announces %d bytes", f.Offset, size)
		}
		f.ContentSize = int64(size)
	}
	if d.singleSegment() {
		f.Window = f.ContentSize
	}
	if f.Window > w.limits.Window {
		return refuse(ErrLimit, "", "the zstd frame at offset %d needs a window of %d bytes, which exceeds the limit of %d", f.Offset, f.Window, w.limits.Window)
	}
	w.checksum = f.Checksum
	w.facts.append(f)
	w.expect(atBlock, 3)
	return nil
}

// descriptor is the first byte of a frame header.
type descriptor byte

func (d descriptor) singleSegment() bool { return d&0x20 != 0 }

func (d descriptor) dictSize() int { return [...]int{0, 1, 2, 4}[d&3] }

func (d descriptor) contentSizeSize() int {
	if d>>6 == 0 && d.singleSegment() {
		return 1
	}
	return [...]int{0, 2, 4, 8}[d>>6]
}

func (d descriptor) headerSize() int {
	n := d.dictSize() + d.contentSizeSize()
	if !d.singleSegment() {
		n++
	}
	return n
}

func littleEndian(b []byte) uint64 {
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v
}
