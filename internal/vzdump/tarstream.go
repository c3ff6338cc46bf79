package vzdump

import (
	"bufio"
	"errors"
	"io"
)

// tarStream reads the members of a tar in the one accepted dialect: a ustar
// header, and before it at most one pax header. It replaces archive/tar, which
// accepts dialects that readers understand in different ways.
type tarStream struct {
	r       io.Reader
	limits  *Limits
	offset  int64 // of the next byte of the stream
	started int64 // offset of the member's first header
	left    int64 // stored bytes of the member that were not read yet
	padding int64

	// Of a sparse member; data is nil for others.
	data []extent
	size int64
	at   int64 // position in the content

	record *recorder // nil without one

	// Of a reader that continues with a [Tail]; nil and false for others.
	front  *bufio.Reader // until its end
	behind func()        // called once, between front and Tail
	elided func(n int64) // called with the bytes of content that are left out
	elide  bool          // the members come from the Tail
}

// errEnd is the end marker: two blocks of zeros.
var errEnd = errors.New("end of the tar stream")

func (s *tarStream) readBlock(b *[block]byte) error {
	n, err := io.ReadFull(s.r, b[:])
	s.offset += int64(n)
	s.keep(b[:n])
	return err
}

// keep records a part of the headers.
func (s *tarStream) keep(b []byte) {
	if s.record != nil {
		s.record.headers = append(s.record.headers, b...)
	}
}

// leave goes behind the content of the member.
func (s *tarStream) leave() error {
	skip := s.left + s.padding
	s.left, s.padding, s.data = 0, 0, nil
	if s.elide {
		s.offset += skip
		s.elided(skip)
		return nil
	}
	n, err := io.CopyN(io.Discard, s.r, skip)
	s.offset += n
	return err
}

// next goes to the next member.
func (s *tarStream) next() (*tarHeader, error) {
	if err := s.leave(); err != nil {
		return nil, err
	}
	s.started = s.offset
	if s.record != nil {
		s.record.marks = append(s.record.marks, headerMark{s.offset, len(s.record.headers)})
	}
	s.cross()
	h, err := s.header()
	if err != nil {
		return nil, err
	}
	var records map[string]string
	if h.flag == typeExtended {
		if records, err = s.extended(h); err != nil {
			return nil, err
		}
		if h, err = s.header(); errors.Is(err, errEnd) {
			err = refuse(ErrCorrupt, "", "a pax header and no member after it")
		}
		if err != nil {
			return nil, err
		}
	}
	if err := s.checkFlag(h); err != nil {
		return nil, err
	}
	if err := h.apply(records); err != nil {
		return nil, err
	}
	if err := h.checkShape(); err != nil {
		return nil, err
	}
	s.left, s.padding = h.Size, -h.Size&(block-1)
	if h.sparse {
		if err := s.sparseMap(h); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (s *tarStream) header() (*tarHeader, error) {
	var b, zero [block]byte
	if err := s.readBlock(&b); err != nil {
		if errors.Is(err, io.EOF) {
			err = refuse(ErrTruncated, "", "it ends without an end marker")
		}
		return nil, err
	}
	if b != zero {
		return parseHeader(&b)
	}
	if err := s.readBlock(&b); err != nil {
		if errors.Is(err, io.EOF) {
			err = refuse(ErrTruncated, "", "it ends within the end marker")
		}
		return nil, err
	}
	if b != zero {
		return nil, refuse(ErrCorrupt, "", "a single block of zeros, want two at the end of the tar stream: readers of tar differ in where they end")
	}
	return nil, errEnd
}

func (s *tarStream) extended(h *tarHeader) (map[string]string, error) {
	if h.Size > int64(s.limits.PAX) {
		return nil, refuse(ErrLimit, "", "%d bytes of pax records exceed the limit of %d", h.Size, s.limits.PAX)
	}
	data := make([]byte, h.Size+(-h.Size&(block-1)))
	n, err := io.ReadFull(s.r, data)
	s.offset += int64(n)
	s.keep(data[:n])
	if err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return parseRecords(string(data[:h.Size]))
}

// flagNames describes the type flags outside the format.
var flagNames = map[byte]string{
	0: "a file of the old format", '7': "a contiguous file", 'g': "a global pax header", 'x': "a second pax header", 'L': "a GNU long name", 'K': "a GNU long link name",
	'S': "an old GNU sparse file", 'M': "a part of a multi-volume archive", 'V': "a volume label", 'D': "a GNU directory dump",
}

func (s *tarStream) checkFlag(h *tarHeader) error {
	if typesByFlag[h.flag] != 0 {
		return nil
	}
	name := flagNames[h.flag]
	if name == "" {
		name = "not a type of the format"
	}
	return refuse(ErrUnsupported, h.RawName, "its type %q is %s: readers of tar understand it in different ways, and vzdump does not write it", string(h.flag), name)
}

// checkShape refuses fields that do not belong to the type: readers differ in
// whether they use them.
func (h *tarHeader) checkShape() error {
	if h.Size != 0 && h.flag != '0' {
		return refuse(ErrUnsupported, h.RawName, "a %s with %d bytes of content", typesByFlag[h.flag], h.Size)
	}
	if h.RawLink != "" && h.flag != '1' && h.flag != '2' {
		return refuse(ErrUnsupported, h.RawName, "a %s with the link name %q", typesByFlag[h.flag], h.RawLink)
	}
	return nil
}

// Read reads the content of the member; holes are zeros.
func (s *tarStream) Read(p []byte) (int, error) {
	if s.data == nil {
		return s.stored(p)
	}
	for len(s.data) > 0 && s.at >= s.data[0].offset+s.data[0].size {
		s.data = s.data[1:]
	}
	switch {
	case s.at == s.size:
		return 0, io.EOF
	case s.at < s.data[0].offset:
		n := int(min(int64(len(p)), s.data[0].offset-s.at))
		clear(p[:n])
		s.at += int64(n)
		return n, nil
	}
	n, err := s.stored(p[:min(int64(len(p)), s.data[0].offset+s.data[0].size-s.at)])
	s.at += int64(n)
	return n, err
}

func (s *tarStream) stored(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	if s.elide {
		return 0, errElided
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	s.offset += int64(n)
	if err != nil && errors.Is(err, io.EOF) && s.left > 0 {
		err = io.ErrUnexpectedEOF
	} else if s.left == 0 {
		err = nil
	}
	return n, err
}
