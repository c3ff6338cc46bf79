package vzdump

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// sourceReader counts bytes and remembers an error of the source: the decoders
// wrap or replace it, and a failing disk is not a corrupt archive.
type sourceReader struct {
	r   io.Reader
	n   int64
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// plainReader counts the tar stream and compares it with the packed size.
type plainReader struct {
	r      io.Reader
	n      int64
	packed func() int64
	limits Limits
}

func (p *plainReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	if p.n > ratioGrace && p.n/p.limits.Ratio > p.packed() {
		return 0, refuse(ErrLimit, "", "%d bytes unpacked from %d, more than %d for each", p.n, p.packed(), p.limits.Ratio)
	}
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil // the error comes again: a reader that got the last byte has not seen the end
	}
	return n, err
}

// decompress finds out the compression and returns the tar stream.
func decompress(src io.Reader, limits Limits, facts *Facts) (plain io.Reader, closer func(), err error) {
	br := bufio.NewReaderSize(src, 128<<10)
	head, err := br.Peek(block)
	if err != nil && !errors.Is(err, io.EOF) && len(head) == 0 {
		return nil, nil, err
	}
	if len(head) == 0 {
		return nil, nil, refuse(ErrTruncated, "", "it is empty")
	}
	facts.Compression = CompressionOf(head)
	if facts.Compression != None && len(head) == block && looksLikeTar([block]byte(head)) {
		return nil, nil, refuse(ErrUnsupported, "", "it begins as %s and as a plain tar: a reader that goes by the name's end sees other members", facts.Compression)
	}
	switch facts.Compression {
	case Zstd:
		dec, err := zstd.NewReader(newFrameWalker(br, limits, facts),
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(limits.Window)))
		if err != nil {
			return nil, nil, err
		}
		return dec, dec.Close, nil
	case Gzip:
		gz, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, err
		}
		return gz, func() {}, nil
	case None:
		return br, func() {}, nil
	}
	return nil, nil, refuse(ErrUnsupported, "", "it is packed with %s; repack it with zstd", facts.Compression)
}

// CompressionOf returns how an archive is packed that begins with head; 8 bytes
// are enough.
func CompressionOf(head []byte) Compression {
	skippable := len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18})
	switch {
	case skippable, bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return Zstd
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return Gzip
	case bytes.HasPrefix(head, []byte{0x89, 'L', 'Z', 'O'}):
		return lzo
	case bytes.HasPrefix(head, []byte("BZh")):
		return bzip2
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X'}):
		return xz
	}
	return None
}

// looksLikeTar reports whether GNU tar takes b for a header, and with it the file
// for a tar that is not packed: it knows more forms of the checksum than this
// reader accepts.
func looksLikeTar(b [block]byte) bool {
	raw := fieldChecksum.of(&b)
	if raw[0] == 0 {
		raw = raw[1:]
	}
	digits := strings.TrimLeft(string(raw), " \t\n\v\f\r")
	if end := strings.IndexAny(digits, "\x00 \t\n\v\f\r"); end >= 0 {
		digits = digits[:end]
	}
	want, err := strconv.ParseUint(digits, 8, 32)
	if err != nil {
		return false
	}
	unsigned, signed := int64(8*' '), int64(8*' ')
	for i, c := range b {
		if i < fieldChecksum.at || i >= fieldChecksum.at+fieldChecksum.size {
			unsigned, signed = unsigned+int64(c), signed+int64(int8(c))
		}
	}
	return int64(want) == unsigned || int64(want) == signed
}

// explain gives an error of the decoders its class.
func (r *Reader) explain(err error) error {
	var refused *RefusedError
	now := r.decoded()
	switch {
	case errors.Is(err, io.EOF) && r.facts.Complete:
		return io.EOF
	case now.sourceErr != nil:
		return now.sourceErr
	case errors.As(err, &refused):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return refuse(ErrTruncated, "", "it ends after %d packed bytes, in or after member %d", now.packed, r.facts.Entries)
	case errors.Is(err, zstd.ErrCRCMismatch), errors.Is(err, gzip.ErrChecksum):
		return refuse(ErrCorrupt, "", "checksum mismatch of the %s stream, in or after member %d", now.frames.Compression, r.facts.Entries)
	}
	var flateErr flate.CorruptInputError
	if errors.As(err, &flateErr) || now.frames.Compression != None {
		return refuse(ErrCorrupt, "", "%s, in or after member %d", err, r.facts.Entries)
	}
	return err
}
