// Command timeline draws the record of a run as an SVG picture: it reads the JSON
// of "felhom-controller-bootstrap status --json" from stdin and writes the picture
// to stdout. It is a program of its own, so that no guest has to contain it.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/internal/timeline"
)

func main() {
	if err := draw(os.Stdin, os.Stdout); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "timeline: %v\nhint: felhom-controller-bootstrap status --json | timeline > run.svg\n", err)
		os.Exit(1)
	}
}

func draw(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(io.LimitReader(in, record.MaxBytes+1))
	if err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	if len(data) > record.MaxBytes {
		return fmt.Errorf("read the record: it exceeds the limit of %d bytes", record.MaxBytes)
	}
	r, err := record.Decode(data)
	if err != nil {
		return fmt.Errorf("read the record: %w", err)
	}
	_, err = out.Write(timeline.SVG(picture(r)))
	return err
}
