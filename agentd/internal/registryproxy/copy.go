package registryproxy

import (
	"errors"
	"io"
	"sync"
)

// errLength is the error if a body does not have the announced length.
var errLength = errors.New("the registry sent another length than it announced")

const copyBytes = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, copyBytes); return &b }}

// copyExactly copies length bytes; a body that is shorter or longer is an error,
// and nothing beyond length is written.
func copyExactly(to io.Writer, from io.Reader, length int64) error {
	buf, _ := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	left := length
	for {
		n, err := from.Read(*buf)
		if int64(n) > left {
			return errLength
		}
		if n > 0 {
			if _, err := to.Write((*buf)[:n]); err != nil {
				return err
			}
			left -= int64(n)
		}
		switch {
		case errors.Is(err, io.EOF) && left == 0:
			return nil
		case errors.Is(err, io.EOF):
			return errLength
		case err != nil:
			return err
		}
	}
}

// noted is a reader that keeps the fault that ended it.
type noted struct {
	io.Reader
	err error
}

// Read implements [io.Reader].
func (n *noted) Read(p []byte) (int, error) {
	done, err := n.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return done, err
}
