package vzdump

import (
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// Setting says how hard the writer compresses. Its bytes depend on the input
// and this package's version alone, not on processors or a zstd on the machine.
type Setting uint8

// The settings.
const (
	Fast    Setting = iota + 1 // for the edit loop
	Release                    // smallest; a window of MaxWindow that stock decoders still take
)

// String returns "fast" or "release".
func (s Setting) String() string {
	switch s {
	case Fast:
		return "fast"
	case Release:
		return "release"
	}
	return fmt.Sprintf("Setting(%d)", uint8(s))
}

// encoder begins to pack into w. What depends on the machine is how much is
// done at the same time, never the bytes.
func (s Setting) encoder(w io.Writer) (io.WriteCloser, error) {
	opts := []zstd.EOption{zstd.WithEncoderCRC(true), zstd.WithZeroFrames(true)}
	switch s {
	case Fast:
		workers := min(runtime.GOMAXPROCS(0), maxWorkers)
		enc, err := zstd.NewWriter(nil, append(opts, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(workers))...)
		if err != nil {
			return nil, err
		}
		return newChunkWriter(w, enc, workers), nil
	case Release:
		// One frame: what makes it small is that programs far apart share code.
		// Two goroutines pipeline reading and packing.
		return zstd.NewWriter(w, append(opts, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(MaxWindow), zstd.WithEncoderConcurrency(2))...)
	}
	return nil, fmt.Errorf("no compression setting %s", s)
}

// checkWritable says what keeps a path out of a canonical archive.
func checkWritable(path string) error {
	if path == "." {
		return nil
	}
	clean, odd, err := cleanPath("./"+path, 4096, false)
	if errors.Is(err, ErrUnsupported) || err == nil && (clean != path || odd != 0) {
		err = fmt.Errorf("%q is not a path of the canonical form (clean, relative, no control characters)", path)
	}
	return err
}
