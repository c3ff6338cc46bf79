package vzdump

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"io"

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
	head, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case len(head) == 0:
		return nil, nil, refuse(ErrTruncated, "", "it is empty")
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(head) == 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:], []byte{0x2a, 0x4d, 0x18}):
		facts.Compression = Zstd
		dec, err := zstd.NewReader(newFrameWalker(br, limits, facts),
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(limits.Window)))
		if err != nil {
			return nil, nil, err
		}
		return dec, dec.Close, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		facts.Compression = Gzip
		gz, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, err
		}
		return gz, func() {}, nil
	case bytes.Equal(head, []byte{0x89, 'L', 'Z', 'O'}):
		return nil, nil, refuse(ErrUnsupported, "", "it is packed with lzo; repack it with zstd")
	case bytes.HasPrefix(head, []byte("BZh")), bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X'}):
		return nil, nil, refuse(ErrUnsupported, "", "it is packed with bzip2 or xz, which vzdump does not write; repack it with zstd")
	}
	facts.Compression = None
	return br, func() {}, nil
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
