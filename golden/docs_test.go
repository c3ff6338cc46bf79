package main

import (
	"flag"
	"io"
	"testing"

	"github.com/felhom/felhom-golden/internal/command"
	"github.com/felhom/felhom-golden/internal/command/commandtest"
)

var update = flag.Bool("update", false, "write the manual page and the completions")

// The manual page and the completions are what the command line gives: "make docs" writes them.
func TestDocuments(t *testing.T) {
	commandtest.Documents(t, "..", *update, func(more string) map[string]string {
		return command.Documents(newApp(stdio{out: io.Discard, err: io.Discard}), 1, more)
	})
}
