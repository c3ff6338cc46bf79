// Command recording draws a recorded terminal session as an animated SVG picture, light and dark: it reads an asciicast (version 2) from
// stdin and writes the picture to stdout. The same recording gives the same bytes.
package main

import (
	"fmt"
	"io"
	"os"
)

// maxRecording bounds what is read: a recording of some minutes has some 10 KB.
const maxRecording = 1 << 20

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "recording:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	data, err := io.ReadAll(io.LimitReader(in, maxRecording+1))
	if err != nil {
		return err
	}
	if len(data) > maxRecording {
		return fmt.Errorf("the recording exceeds the limit of %d bytes", maxRecording)
	}
	r, err := parse(data)
	if err != nil {
		return err
	}
	_, err = out.Write(draw(r))
	return err
}
