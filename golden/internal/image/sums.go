package image

import "hash"

// summer takes the digest of one file after another in a goroutine of its own.
// That costs about as much as unpacking, so that the two at the same time take
// little longer than one. It holds sumBlocks blocks, however large the files.
type summer struct {
	full  chan sumBlock
	spare chan []byte
	done  chan struct{}
	buf   []byte
}

const (
	sumBlocks     = 4
	sumBlockBytes = 256 << 10
)

// sumBlock is a part of a file; the last one says whose it was.
type sumBlock struct {
	data []byte
	last *Entry // nil: more follows
}

func newSummer(h hash.Hash) *summer {
	s := &summer{full: make(chan sumBlock, sumBlocks), spare: make(chan []byte, sumBlocks), done: make(chan struct{})}
	for range sumBlocks {
		s.spare <- make([]byte, 0, sumBlockBytes)
	}
	go s.run(h)
	return s
}

func (s *summer) run(h hash.Hash) {
	defer close(s.done)
	for b := range s.full {
		h.Write(b.data)
		if b.last != nil {
			h.Sum(b.last.Digest[:0])
			b.last.Hashed = true
			h.Reset()
		}
		s.spare <- b.data[:0]
	}
}

// Write takes a part of the current file.
func (s *summer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if s.buf == nil {
			s.buf = <-s.spare
		}
		n := min(len(p), cap(s.buf)-len(s.buf))
		s.buf = append(s.buf, p[:n]...)
		p = p[n:]
		if len(s.buf) == cap(s.buf) {
			s.send(nil)
		}
	}
	return total, nil
}

// end ends the content of e.
func (s *summer) end(e *Entry) {
	if s.buf == nil {
		s.buf = <-s.spare
	}
	s.send(e)
}

func (s *summer) send(last *Entry) {
	s.full <- sumBlock{s.buf, last}
	s.buf = nil
}

// close waits until every sum is in its entry.
func (s *summer) close() {
	close(s.full)
	<-s.done
}
