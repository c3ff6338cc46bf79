package main

import (
	"io"
	"runtime/debug"
	"sync"

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
// It is set by the goroutines that decode, of which the one of an archive that was
// refused may outlive its command.
var (
	memoryLimit int64
	limiting    sync.Mutex
)

func limit(window int64) {
	limiting.Lock()
	defer limiting.Unlock()
	most := window + workingMemory
	if most <= memoryLimit || debug.SetMemoryLimit(-1) < most && memoryLimit == 0 { // GOMEMLIMIT may say less
		return
	}
	memoryLimit = most
	debug.SetMemoryLimit(most)
}
