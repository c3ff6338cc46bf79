package enter

import (
	"errors"
	"os"
)

// pipes are the three ways between a caller and its pid 1.
type pipes struct {
	orderR, orderW       *os.File
	lifelineR, lifelineW *os.File
	outcomeR, outcomeW   *os.File
}

func newPipes() (*pipes, error) {
	var p pipes
	for _, pair := range []struct{ r, w **os.File }{
		{&p.orderR, &p.orderW}, {&p.lifelineR, &p.lifelineW}, {&p.outcomeR, &p.outcomeW},
	} {
		var err error
		if *pair.r, *pair.w, err = os.Pipe(); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return &p, nil
}

// closeChildEnds drops what the child has by now, so that an end of the child
// is an end of its pipes.
func (p *pipes) closeChildEnds() error {
	return closeAll(p.orderR, p.lifelineR, p.outcomeW)
}

func (p *pipes) close() error {
	return closeAll(p.orderR, p.orderW, p.lifelineR, p.lifelineW, p.outcomeR, p.outcomeW)
}

// closeAll closes what is open; ends are closed at different times on
// different ways, so that "already closed" is nothing to report.
func closeAll(files ...*os.File) error {
	var errs []error
	for _, f := range files {
		if f == nil {
			continue
		}
		if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
