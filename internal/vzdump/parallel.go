package vzdump

import (
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// chunkWriter packs several chunks of one size at the same time, each into its own
// frame, and writes them in order. The cuts are at fixed places, so that the result
// does not depend on the number of processors. Each worker holds two chunks. One
// goroutine uses it; Close waits for all workers, abandon for none.
type chunkWriter struct {
	out     io.Writer
	encoder *zstd.Encoder
	chunk   int // bytes
	buf     []byte
	wrote   bool
	slots   chan struct{}    // one for each chunk in work
	queue   chan chan []byte // the packed chunks, in order
	spare   chan []byte
	drained chan struct{}
	ended   bool // by abandon

	writing sync.Mutex // held while out is written
	mu      sync.Mutex
	err     error
}

var errAbandoned = errors.New("the frame was abandoned")

func newChunkWriter(out io.Writer, encoder *zstd.Encoder, chunk, workers int) *chunkWriter {
	w := &chunkWriter{
		out: out, encoder: encoder, chunk: chunk, slots: make(chan struct{}, workers), queue: make(chan chan []byte, workers),
		spare: make(chan []byte, 2*workers+1), drained: make(chan struct{}),
	}
	go w.drain()
	return w
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if w.buf == nil {
			w.buf = w.buffer()
		}
		n := min(len(p), w.chunk-len(w.buf))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(w.buf) == w.chunk {
			w.send()
		}
	}
	return total, w.failed()
}

func (w *chunkWriter) buffer() []byte {
	select {
	case b := <-w.spare:
		return b[:0]
	default:
		return make([]byte, 0, w.chunk)
	}
}

// keep holds a buffer for reuse. A sync.Pool would give it to the collector
// between two chunks, and the memory would be several times as much.
func (w *chunkWriter) keep(b []byte) {
	select {
	case w.spare <- b:
	default:
	}
}

// send gives the chunk to a worker, and waits while all are busy.
func (w *chunkWriter) send() {
	chunk := w.buf
	w.buf, w.wrote = nil, true
	w.slots <- struct{}{}
	packed := make(chan []byte, 1)
	w.queue <- packed
	go func() {
		packed <- w.encoder.EncodeAll(chunk, w.buffer())
		w.keep(chunk)
	}()
}

// drain writes the results of the workers in order.
func (w *chunkWriter) drain() {
	defer close(w.drained)
	for packed := range w.queue {
		data := <-packed
		w.write(data)
		w.keep(data)
		<-w.slots
	}
}

// write writes data unless an earlier write failed.
func (w *chunkWriter) write(data []byte) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.failed() != nil {
		return
	}
	if _, err := w.out.Write(data); err != nil {
		w.fail(err)
	}
}

func (w *chunkWriter) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

func (w *chunkWriter) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close packs the rest; an archive without content is one empty frame.
func (w *chunkWriter) Close() error {
	if len(w.buf) > 0 || !w.wrote {
		w.send()
	}
	close(w.queue)
	<-w.drained
	if err := w.encoder.Close(); err != nil {
		return err
	}
	return w.failed()
}

// abandon ends the writing: nothing is written to out afterwards. The workers end
// with the chunks that they have, which can take seconds.
func (w *chunkWriter) abandon() {
	if w.ended {
		return
	}
	w.ended = true
	w.writing.Lock()
	w.fail(errAbandoned)
	w.writing.Unlock()
	close(w.queue)
}
