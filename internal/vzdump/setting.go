package vzdump

import (
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// Setting is how hard the writer compresses. The result depends only on the
// input and this package's version, not on processors or a zstd program of the
// machine.
type Setting uint8

// The settings.
const (
	Fast    Setting = iota + 1 // for the edit loop
	Release                    // smallest, at about seven times the work
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

// Release packs 72 MiB into one zstd frame: programs that share code are that far
// apart, and an image of 300 MB is enough for four processors. Fast packs 16 MiB,
// twice its window, so that a cut costs little.
const (
	releaseChunk = 72 << 20
	fastChunk    = 16 << 20
)

// The workers bound the memory: for each chunk that is packed there are the
// chunk, what it was packed to, and the tables of the encoder.
const (
	releaseWorkers = 4
	fastWorkers    = 8
)

// encoder begins to pack into w. What depends on the machine is how much is
// done at the same time, never the bytes.
func (s Setting) encoder(w io.Writer) (*chunkWriter, error) {
	opts := []zstd.EOption{zstd.WithEncoderCRC(true), zstd.WithZeroFrames(true)}
	chunk, workers := 0, runtime.GOMAXPROCS(0)
	switch s {
	case Fast:
		chunk, workers = fastChunk, min(workers, fastWorkers)
		opts = append(opts, zstd.WithEncoderLevel(zstd.SpeedDefault))
	case Release:
		chunk, workers = releaseChunk, min(workers, releaseWorkers)
		opts = append(opts, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(MaxWindow), zstd.WithLowerEncoderMem(true))
	default:
		return nil, fmt.Errorf("no compression setting %s", s)
	}
	enc, err := zstd.NewWriter(nil, append(opts, zstd.WithEncoderConcurrency(workers))...)
	if err != nil {
		return nil, err
	}
	return newChunkWriter(w, enc, chunk, workers), nil
}

// checkWritable returns why a path cannot be in a canonical archive.
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
