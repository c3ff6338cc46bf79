package main

import (
	"io"
	"runtime"
	"slices"
	"time"
)

// apiResults are what was measured of the local API.
type apiResults struct {
	own, peer, ownNew, peerNew []load
	idle, busy                 int64 // bytes
	crowd, flood               []time.Duration
	stored                     int // guests with all their reports
}

func middleOf(all []load, of func(load) float64) float64 {
	values := make([]float64, 0, len(all))
	for _, l := range all {
		values = append(values, of(l))
	}
	slices.Sort(values)
	if len(values) == 0 {
		return 0
	}
	return values[len(values)/2]
}

func perSecond(l load) float64 { return l.perSecond }
func micros(l load) float64    { return float64(l.cpu) / float64(time.Microsecond) }

// within returns the time that a share of all stays within.
func within(all []time.Duration, share float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*share))]
}

func (r apiResults) print(w io.Writer, guests int, o options) error {
	p := &printer{w: w}
	p.line("%s/%s, %d processors, %s; %d rounds, medians. Clients and servers share the processors.\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), max(1, o.rounds-1))
	p.line("**local API**\n")
	p.line("| | keep-alive GET | CPU for one | new connections | CPU for one |")
	p.line("|---|---|---|---|---|")
	row := func(name string, kept, fresh []load) {
		p.line("| %s | %.0f/s | %.1f µs | %.0f/s | %.0f µs |", name, middleOf(kept, perSecond), middleOf(kept, micros), middleOf(fresh, perSecond), middleOf(fresh, micros))
	}
	row("nginx, return", r.peer, r.peerNew)
	row("felhom-agentd", r.own, r.ownNew)
	p.line("\n%d guests booted within %s, %d of them have all %d reports on the host; %d reports, p50 %.1f ms, p99 %.1f ms. Memory afterwards: %.1f MB.\n", guests, bootWindow, r.stored, bootReports,
		len(r.crowd), ms(within(r.crowd, .5)), ms(within(r.crowd, .99)), float64(r.busy)/1e6)
	p.line("**targets**\n")
	p.line("| | target | measured | |")
	p.line("|---|---|---|---|")
	for _, t := range []struct {
		text   string
		limit  float64
		unit   string
		value  float64
		isMost bool
	}{
		{"keep-alive GET, to nginx", 0.7, "x", middleOf(r.own, perSecond) / max(1, middleOf(r.peer, perSecond)), false},
		{"CPU for one request", 25, "µs", middleOf(r.own, micros), true},
		{"CPU for a new connection", 450, "µs", middleOf(r.ownNew, micros), true},
		{"memory, idle", 16, "MB", float64(r.idle) / 1e6, true},
		{"guests with all reports", float64(guests), "", float64(r.stored), false},
		{"p99 of a report in a crowd", 250, "ms", ms(within(r.crowd, .99)), true},
		{"p99 of another source in a flood", 50, "ms", ms(within(r.flood, .99)), true},
	} {
		sign, verdict := "≥", "yes"
		if t.isMost {
			sign = "≤"
		}
		if t.isMost && t.value > t.limit || !t.isMost && t.value < t.limit {
			verdict = "**no**"
		}
		p.line("| %s | %s %g %s | %.2f %s | %s |", t.text, sign, t.limit, t.unit, t.value, t.unit, verdict)
	}
	return p.err
}
