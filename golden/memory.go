package main

import (
	"io"
	"runtime/debug"

	"github.com/felhom/felhom-golden/internal/vzdump"
)

// workingMemory is what a command that reads archives has beside the window:
// 64 MiB, of which more than a third is left for the program itself and for what its
// own measure misses.
const workingMemory = 40 << 20

// boundMemory has the collector work harder before the program takes more than
// workingMemory and the largest window of the archives so far, which r passes
// through. By its own measure the collector waits until the heap has doubled.
func boundMemory(r io.Reader) io.Reader {
	limit(0)
	return vzdump.WatchWindows(r, limit)
}

// memoryLimit is what boundMemory has set; commands read one archive at a time.
var memoryLimit int64

func limit(window int64) {
	most := window + workingMemory
	if most <= memoryLimit || debug.SetMemoryLimit(-1) < most && memoryLimit == 0 { // GOMEMLIMIT may say less
		return
	}
	memoryLimit = most
	debug.SetMemoryLimit(most)
}
