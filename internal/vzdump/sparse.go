package vzdump

import (
	"bytes"
	"io"
)

// extent is a part of a sparse file that is stored.
type extent struct{ offset, size int64 }

// maxExtents bounds the memory of a sparse map: 1 MiB.
const maxExtents = 1 << 16

// sparseMap reads the map before the content: decimal numbers, one in each
// line, filled up to a block with NUL bytes.
func (s *tarStream) sparseMap(h *tarHeader) error {
	bad := func(why string) error {
		return refuse(ErrUnsupported, h.RawName, "its sparse map %s: readers of tar understand it in different ways", why)
	}
	size, err := decimal(h.records["GNU.sparse.realsize"])
	if err != nil || size > 1<<62 {
		return bad("has no valid size")
	}
	m := mapReader{s: s, name: h.RawName}
	count := m.number()
	if m.err == nil && (count < 1 || count > maxExtents) {
		return refuse(ErrLimit, h.RawName, "its sparse map has %d parts, want 1 to %d", count, maxExtents)
	}
	data := []extent{}
	end, stored := int64(0), int64(0)
	for range count {
		offset, n := m.number(), m.number()
		if m.err != nil {
			return m.err
		}
		if offset < end || offset > size || n > size-offset {
			return bad("has parts that overlap, are out of order or exceed the file")
		}
		// GNU tar fills each part up to a block, others only the last.
		if n > 0 && stored%block != 0 {
			return bad("has a part that does not fill its last block, and another after it")
		}
		end, stored = offset+n, stored+n
		data = append(data, extent{offset, n})
	}
	switch {
	case m.err != nil:
		return m.err
	case end != size:
		return bad("does not reach the end of the file")
	case len(bytes.Trim(m.rest, "\x00")) != 0:
		return bad("has bytes after its last part")
	case s.left != stored:
		return bad("does not agree with the bytes that are stored")
	}
	h.Size, s.data, s.size, s.at = size, data, size, 0
	return nil
}

// mapReader reads the numbers of a sparse map and keeps the first error.
type mapReader struct {
	s    *tarStream
	name string
	buf  [block]byte
	rest []byte
	err  error
}

func (m *mapReader) number() int64 {
	var digits []byte
	for m.err == nil {
		if len(m.rest) == 0 {
			m.fill()
			continue
		}
		c := m.rest[0]
		m.rest = m.rest[1:]
		if c == '\n' {
			break
		}
		if digits = append(digits, c); len(digits) > 20 {
			break
		}
	}
	n, err := decimal(string(digits))
	if m.err == nil && err != nil {
		m.err = refuse(ErrUnsupported, m.name, "its sparse map has %q where a number should be", digits)
	}
	return n
}

func (m *mapReader) fill() {
	if m.s.left < block {
		m.err = refuse(ErrUnsupported, m.name, "its sparse map is longer than its content")
		return
	}
	if err := m.s.readBlock(&m.buf); err != nil {
		m.err = io.ErrUnexpectedEOF
		return
	}
	m.s.left -= block
	m.rest = m.buf[:]
}

// SparseFile is what [Reader.CopyTo] writes to; *os.File implements it.
type SparseFile interface {
	io.Writer
	io.Seeker
	Truncate(size int64) error
}

// CopyTo writes the content of the current member to f, which must be empty,
// and leaves the holes of a sparse file as holes. It returns the number of
// bytes written, without holes.
func (r *Reader) CopyTo(f SparseFile, buf []byte) (int64, error) {
	w := struct{ io.Writer }{f} // hides ReadFrom, which would allocate a buffer each time
	if r.tar.data == nil {
		return io.CopyBuffer(w, struct{ io.Reader }{r}, buf)
	}
	total := int64(0)
	for _, e := range r.tar.data {
		if _, err := f.Seek(e.offset, io.SeekStart); err != nil {
			return total, err
		}
		r.tar.at = e.offset
		n, err := io.CopyBuffer(w, io.LimitReader(r, e.size), buf)
		total += n
		if err == nil && n < e.size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return total, err
		}
	}
	r.tar.at = r.tar.size
	return total, f.Truncate(r.tar.size)
}
