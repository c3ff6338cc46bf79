package main

import (
	"runtime/debug"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

// boundMemory has the collector work harder before the program takes more than
// a command that only reads archives may: 64 MiB beside the window, of which a
// quarter is left for the program itself. By its own measure the collector
// waits until the heap has doubled, and the window is most of the heap.
func boundMemory() {
	const most = vzdump.MaxWindow + 48<<20
	if debug.SetMemoryLimit(-1) > most { // GOMEMLIMIT may say less
		debug.SetMemoryLimit(most)
	}
}
