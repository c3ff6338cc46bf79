package vzdump

import (
	"errors"
	"io"
)

// WatchWindows returns a reader of r that calls f with the window of each zstd
// frame, in bytes, before a decoder gets the frame. It refuses nothing: the
// [Reader] reports what is broken or not zstd.
func WatchWindows(r io.Reader, f func(window int64)) io.Reader {
	w := &windowWatcher{r: r, f: f}
	w.walker = newFrameWalker(nil, Limits{}.withDefaults(), &w.facts)
	return w
}

type windowWatcher struct {
	r      io.Reader
	f      func(int64)
	walker *frameWalker
	facts  Facts
	seen   int64
	off    bool // not zstd
}

func (w *windowWatcher) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.off {
		return n, err
	}
	if walkErr := w.walker.walk(p[:n]); walkErr != nil {
		w.off = true
		return n, err
	}
	if w.facts.Window > w.seen {
		w.seen = w.facts.Window
		w.f(w.seen)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		w.off = true
	}
	return n, err
}
