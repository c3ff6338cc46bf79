package vzdump

import (
	"io"
	"sync"
)

// aheadReader decodes in a goroutine of its own, up to aheadBlocks blocks before
// they are read. What the decoder has learnt meanwhile comes with each block, so
// that the two sides share nothing.
type aheadReader struct {
	full  chan aheadBlock
	spare chan []byte
	stop  chan struct{}
	gate  *gate
	block aheadBlock
	rest  []byte // of block, not read yet
}

// The blocks bound the memory: half a megabyte.
const (
	aheadBlocks     = 4
	aheadBlockBytes = 128 << 10
)

// aheadBlock is a part of the tar stream.
type aheadBlock struct {
	data  []byte
	err   error // after data; final
	state decoded
}

// decoded is how far a decoder has come.
type decoded struct {
	packed    int64 // bytes of the source
	sourceErr error
	frames    Facts // what is in it of frames, and the compression
}

// newAheadReader begins to read r. state is called in the goroutine, after each block.
func newAheadReader(r io.Reader, gate *gate, state func() decoded) *aheadReader {
	a := &aheadReader{block: aheadBlock{state: state()}, full: make(chan aheadBlock, aheadBlocks), spare: make(chan []byte, aheadBlocks), stop: make(chan struct{}), gate: gate}
	for range aheadBlocks {
		a.spare <- make([]byte, aheadBlockBytes)
	}
	go a.run(r, state)
	return a
}

func (a *aheadReader) run(r io.Reader, state func() decoded) {
	defer close(a.full)
	for {
		var buf []byte
		select {
		case buf = <-a.spare:
		case <-a.stop:
			return
		}
		n, err := r.Read(buf)
		select {
		case a.full <- aheadBlock{buf[:n], err, state()}:
		case <-a.stop:
			return
		}
		if err != nil {
			return
		}
	}
}

func (a *aheadReader) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.block.err != nil {
			return 0, a.block.err
		}
		if a.block.data != nil {
			a.spare <- a.block.data[:aheadBlockBytes]
		}
		var ok bool
		if a.block, ok = <-a.full; !ok {
			return 0, io.ErrClosedPipe // Close was called
		}
		a.rest = a.block.data
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// close ends the goroutine and reports whether it has ended: not if it waits for
// the source, which may be a pipe that stays silent. Then it ends with that Read.
func (a *aheadReader) close() bool {
	close(a.stop)
	if !a.gate.shut() {
		return false
	}
	a.wait()
	return true
}

// wait waits until the goroutine has ended, after close.
func (a *aheadReader) wait() {
	for range a.full {
		continue // what it decoded before
	}
}

// gate is before the source of an aheadReader: once it is shut, no Read begins.
type gate struct {
	r       io.Reader
	mu      sync.Mutex
	closed  bool
	reading bool
}

func (g *gate) Read(p []byte) (int, error) {
	if !g.enter() {
		return 0, io.ErrClosedPipe
	}
	n, err := g.r.Read(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reading = false
	return n, err
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reading = !g.closed
	return g.reading
}

// shut lets no Read begin any more, and reports whether none is under way.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	return !g.reading
}
