package vzdump

import (
	"context"
	"io"
)

// WithContext returns a reader of r that ends with the cause of ctx when ctx is
// done. A Read of r that waits is not interrupted.
func WithContext(ctx context.Context, r io.Reader) io.Reader { return &contextReader{ctx: ctx, r: r} }

type contextReader struct {
	ctx context.Context //nolint:containedctx // io.Reader has no other way to be cancelled
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
