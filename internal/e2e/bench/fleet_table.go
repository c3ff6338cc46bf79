package main

import (
	"io"
	"runtime"
	"slices"
	"time"
)

// traffic is what guests did, and what it cost the daemons.
type traffic struct {
	took []time.Duration // of each
	wall time.Duration   // of all
	cpu  time.Duration   // of all daemons
}

type fleetResults struct {
	reports, pulls, rotations traffic
	asked, sent               int64 // requests and bytes of the registry
	memory                    []int64
}

func (r fleetResults) print(w io.Writer, o options) error {
	p := &printer{w: w}
	p.line("%s/%s, %d processors, %s. %d daemons with %d simulated guests each; all of them, the guests and the registry share the processors.\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), o.nodes, o.each)
	p.line("| | number | in | p50 | p99 | CPU of the daemon for one |")
	p.line("|---|---|---|---|---|---|")
	for _, row := range []struct {
		name string
		of   traffic
	}{
		{"reports of guests that boot within " + o.window.String(), r.reports},
		{"pulls through the host: manifest, configuration, layers", r.pulls},
		{"new tokens: written, read, used, the old one refused", r.rotations},
	} {
		p.line("| %s | %d | %.1f s | %.1f ms | %.1f ms | %.2f ms |", row.name, len(row.of.took), row.of.wall.Seconds(),
			ms(within(row.of.took, .5)), ms(within(row.of.took, .99)), ms(row.of.cpu)/float64(max(1, len(row.of.took))))
	}
	memory := slices.Sorted(slices.Values(r.memory))
	var middle, largest int64
	if len(memory) > 0 {
		middle, largest = memory[len(memory)/2], memory[len(memory)-1]
	}
	p.line("\nThe registry was asked %d times for %d pulls, and sent %.1f MB. Memory of a daemon afterwards: %.1f MB, at most %.1f MB.",
		r.asked, len(r.pulls.took), float64(r.sent)/1e6, float64(middle)/1e6, float64(largest)/1e6)
	return p.err
}
