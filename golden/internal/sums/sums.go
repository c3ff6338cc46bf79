// Package sums takes digests in a goroutine of its own, which costs the caller a
// copy of what it hashes and no time. Call [New]. It is short because the two
// packages that need it, pack and image, share nothing else.
package sums

import (
	"errors"
	"hash"
	"io"
)

// Summer takes the digest of one content after another. It holds four blocks,
// however long the contents are. One goroutine uses it.
type Summer struct {
	full  chan part
	spare chan []byte
	done  chan struct{}
	buf   []byte
}

const (
	blocks     = 4
	blockBytes = 256 << 10
)

// part is a block of a content. The last one has the function that gets the digest.
type part struct {
	data []byte
	end  func(sum []byte) // nil: more follows
}

// New returns a Summer that takes digests with h, which belongs to it until Close.
func New(h hash.Hash) *Summer {
	s := &Summer{full: make(chan part, blocks), spare: make(chan []byte, blocks), done: make(chan struct{})}
	for range blocks {
		s.spare <- make([]byte, 0, blockBytes)
	}
	go s.run(h)
	return s
}

func (s *Summer) run(h hash.Hash) {
	defer close(s.done)
	var sum []byte
	for p := range s.full {
		h.Write(p.data)
		if p.end != nil {
			sum = h.Sum(sum[:0])
			p.end(sum)
			h.Reset()
		}
		s.spare <- p.data[:0]
	}
}

// Write takes a part of the current content. It never fails.
func (s *Summer) Write(p []byte) (int, error) {
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

// ReadFrom takes r to its end as a part of the current content. It is Write of what
// is read, with one copy less.
func (s *Summer) ReadFrom(r io.Reader) (total int64, err error) {
	for err == nil {
		if s.buf == nil {
			s.buf = <-s.spare
		}
		var n int
		n, err = r.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		total += int64(n)
		if len(s.buf) == cap(s.buf) {
			s.send(nil)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return total, err
}

// End ends the current content. put is called with its digest in the other
// goroutine, not later than Close returns, and must not keep sum.
func (s *Summer) End(put func(sum []byte)) {
	if s.buf == nil {
		s.buf = <-s.spare
	}
	s.send(put)
}

func (s *Summer) send(end func([]byte)) {
	s.full <- part{s.buf, end}
	s.buf = nil
}

// Close waits until each put has been called. A content without End has no digest.
func (s *Summer) Close() {
	close(s.full)
	<-s.done
}
