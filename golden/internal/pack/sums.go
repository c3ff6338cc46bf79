package pack

import "hash"

// sumWriter gives a digest what is written to it, in a goroutine of its own. close ends
// that, and must come before the digest is used.
type sumWriter struct {
	full  chan []byte
	spare chan []byte
	done  chan struct{}
	buf   []byte
}

// A sumWriter holds sumBlocks blocks.
const (
	sumBlocks     = 4
	sumBlockBytes = 512 << 10
)

func newSumWriter(h hash.Hash) *sumWriter {
	s := &sumWriter{full: make(chan []byte, sumBlocks), spare: make(chan []byte, sumBlocks), done: make(chan struct{})}
	for range sumBlocks {
		s.spare <- make([]byte, 0, sumBlockBytes)
	}
	go func() {
		defer close(s.done)
		for b := range s.full {
			h.Write(b)
			s.spare <- b[:0]
		}
	}()
	return s
}

func (s *sumWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if s.buf == nil {
			s.buf = <-s.spare
		}
		n := min(len(p), cap(s.buf)-len(s.buf))
		s.buf = append(s.buf, p[:n]...)
		p = p[n:]
		if len(s.buf) == cap(s.buf) {
			s.full <- s.buf
			s.buf = nil
		}
	}
	return total, nil
}

func (s *sumWriter) close() {
	if s.buf != nil {
		s.full <- s.buf
	}
	close(s.full)
	<-s.done
}
