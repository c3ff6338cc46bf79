package vzdump

import (
	"bufio"
	"errors"
	"io"
	"slices"
)

// Tail is what the last frames of an archive say of their members, without the
// members' content. An archive with the same frames behind another beginning can be
// read from its beginning and the Tail, under the same rules: [NewTailReader].
type Tail struct {
	Headers []byte       // the tar stream without content and the padding after it
	Packed  int64        // bytes of the frames
	Frames  []FrameFacts // their offsets count from the first one
}

// maxEndMark bounds what a Tail keeps of zeros at the end of a tar stream.
const maxEndMark = 64 << 10

// recorder keeps the headers of members as they are read.
type recorder struct {
	headers []byte
	marks   []headerMark // one for each member, and one for the end marker
}

// headerMark is where the headers of a member begin.
type headerMark struct {
	offset int64 // in the tar stream
	at     int   // in the recorder's headers
}

// errElided is the answer to a Read of a member of a Tail.
var errElided = errors.New("the content of this member is not read again")

// Record makes r keep what [Reader.Tail] needs. It is called before the first Next,
// and takes the memory of all headers.
func (r *Reader) Record() { r.tar.record = &recorder{} }

// Tail returns the Tail that begins at the byte seam of the archive, and how many
// members are before it. Next must have returned io.EOF. It reports false if no frame
// or no member begins at seam, or if that is not known.
func (r *Reader) Tail(seam int64) (t Tail, before int, ok bool) {
	f := r.Facts()
	first := slices.IndexFunc(f.Frames, func(f FrameFacts) bool { return f.Offset == seam })
	if r.tar.record == nil || !f.Complete || f.Compression != Zstd || f.FrameCount > len(f.Frames) || first < 0 {
		return Tail{}, 0, false
	}
	plain := int64(0)
	for _, frame := range f.Frames[:first] {
		if frame.Skippable {
			continue
		}
		if frame.ContentSize < 0 {
			return Tail{}, 0, false
		}
		plain += frame.ContentSize
	}
	marks := r.tar.record.marks
	before, ok = slices.BinarySearchFunc(marks, plain, func(m headerMark, plain int64) int {
		switch {
		case m.offset < plain:
			return -1
		case m.offset > plain:
			return 1
		}
		return 0
	})
	rest := f.Unpacked - marks[len(marks)-1].offset - 2*block
	if !ok || before == 0 || rest < 0 || rest > maxEndMark {
		return Tail{}, 0, false
	}
	t = Tail{
		Headers: slices.Concat(r.tar.record.headers[marks[before].at:], make([]byte, rest)),
		Packed:  f.Packed - seam, Frames: slices.Clone(f.Frames[first:]),
	}
	for i := range t.Frames {
		t.Frames[i].Offset -= seam
	}
	return t, before, true
}

// NewTailReader is NewReader of an archive that has the frames of t after those of
// front, which ends where they begin. The content of a member of t is not read: for
// one, [Reader.Elided] is true and Read fails.
func NewTailReader(front io.Reader, limits Limits, t Tail) (*Reader, error) {
	r, err := newReader(front, limits, false)
	if err != nil {
		return nil, err
	}
	if r.frames.Compression != Zstd {
		r.Close()
		return nil, refuse(ErrUnsupported, "", "frames of zstd after another compression")
	}
	r.tar.front = bufio.NewReaderSize(r.plain.r, 64<<10)
	r.plain.r = r.tar.front
	r.tar.behind = func() {
		r.plain.r = &plainTail{headers: t.Headers}
		for _, f := range t.Frames {
			f.Offset += r.source.n
			r.frames.append(f)
		}
		r.source.n += t.Packed
	}
	r.tar.elided = func(n int64) { r.plain.n += n }
	return r, nil
}

// plainTail reads the headers of a Tail, which are in memory.
type plainTail struct{ headers []byte }

func (p *plainTail) Read(b []byte) (int, error) {
	if len(p.headers) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.headers)
	p.headers = p.headers[n:]
	return n, nil
}

// Elided reports whether the current member is one of a Tail.
func (r *Reader) Elided() bool { return r.tar.elide }

// append adds a frame.
func (f *Facts) append(frame FrameFacts) {
	f.FrameCount++
	switch {
	case frame.Skippable:
		f.Skippable++
	case !frame.Checksum:
		f.NoChecksum++
	}
	f.Window = max(f.Window, frame.Window)
	if len(f.Frames) < maxFrameFacts {
		f.Frames = append(f.Frames, frame)
	}
}

// cross continues with the Tail if the front is at its end. It is called between two
// members only, so that none is partly in both.
func (s *tarStream) cross() {
	if s.front == nil {
		return
	}
	if _, err := s.front.Peek(1); errors.Is(err, io.EOF) {
		s.front, s.elide = nil, true
		s.behind()
	}
}
