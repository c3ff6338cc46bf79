package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// target is a limit, beside what was measured.
type target struct {
	text   string
	limit  float64
	unit   string
	median float64
	lowest float64 // what a quiet moment of the machine gave
}

func (f *field) print(ctx context.Context, w io.Writer, s samples, o options) error {
	version, api, err := f.engine.Version(ctx)
	if err != nil {
		return err
	}
	p := &printer{w: w}
	p.line("Engine %s (API %s), %s/%s, %d processors, %s; sample image %s; %d rounds, medians (lowest to highest).\n",
		version, api, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), o.image, max(1, o.rounds-1))
	for _, c := range f.order {
		p.line("**%s**\n", c)
		p.line("| | container started | to the floor | whole run | CPU | peak RSS |")
		p.line("|---|---|---|---|---|---|")
		base := s[c][f.cases[c][0].name]
		for _, one := range f.cases[c] {
			of := s[c][one.name]
			name := one.name
			if one.want != 0 {
				name += fmt.Sprintf(" (fails, exit %d)", one.want)
			}
			p.line("| %s | %s | %.2fx | %s | %.1f ms | %.1f MB |", name, spread(of, started),
				ratio(median(of, started), median(base, started)), spread(of, wall), ms(median(of, cpu)), mb(medianRSS(of)))
		}
		p.line("")
	}
	sizes, err := sizes(o.dist)
	if err != nil {
		return err
	}
	p.line("**size**\n")
	p.line("| | MB |")
	p.line("|---|---|")
	for _, one := range sizes {
		p.line("| %s | %.2f |", one.name, float64(one.bytes)/1e6)
	}
	return p.targets(figures(s, float64(sizes[0].bytes)/1e6))
}

func figures(s samples, size float64) []target {
	warmRuns := s[warm][felhom]
	timed := func(text string, limit float64, all []sample, of func(sample) time.Duration) target {
		return target{text, limit, "ms", ms(median(all, of)), ms(lowest(all, of))}
	}
	over := func(text string, floor []sample) target {
		return target{text, 10, "ms", ms(above(warmRuns, floor)), ms(lowest(warmRuns, started) - lowest(floor, started))}
	}
	everywhere := slices.Concat(warmRuns, s[cold][felhom], s[noop][felhom])
	return []target{
		over("warm, above pull + create + start", s[warm][floorPull]),
		over("warm, above create + start alone", s[warm][floorKnown]),
		timed("CPU, warm", 20, warmRuns, cpu),
		{"peak RSS", 12, "MB", mb(max(medianRSS(warmRuns), medianRSS(s[cold][felhom]), medianRSS(s[noop][felhom]))), mb(lowest(everywhere, rss))},
		timed("run again, nothing to do", 25, s[noop][felhom], wall),
		{"binary", 9, "MB", size, size},
	}
}

func started(s sample) time.Duration { return s.Started }
func wall(s sample) time.Duration    { return s.Wall }
func cpu(s sample) time.Duration     { return s.CPU }
func rss(s sample) int64             { return s.RSS }

func median(all []sample, of func(sample) time.Duration) time.Duration { return middle(all, of) }
func medianRSS(all []sample) int64                                     { return middle(all, rss) }

// above is the median of the differences within a round: what the machine did
// meanwhile falls out of it, which it does not of a difference of medians.
func above(own, floor []sample) time.Duration {
	var differences []sample
	for i := range min(len(own), len(floor)) {
		differences = append(differences, sample{Wall: own[i].Started - floor[i].Started})
	}
	return median(differences, wall)
}

func lowest[T ~int64](all []sample, of func(sample) T) T {
	least := T(0)
	for i, s := range all {
		if v := of(s); i == 0 || v < least {
			least = v
		}
	}
	return least
}

// middle is the median; of an even number the mean of the two in the middle.
func middle[T ~int64](all []sample, of func(sample) T) T {
	if len(all) == 0 {
		return 0
	}
	values := make([]T, len(all))
	for i, s := range all {
		values[i] = of(s)
	}
	slices.Sort(values)
	mid := len(values) / 2
	if len(values)%2 == 1 {
		return values[mid]
	}
	return (values[mid-1] + values[mid]) / 2
}

// spread returns the median, the lowest and the highest value, in seconds if it
// took one or more.
func spread(all []sample, of func(sample) time.Duration) string {
	format, unit := "%.1f ms (%.1f to %.1f)", time.Millisecond
	if median(all, of) >= time.Second {
		format, unit = "%.2f s (%.2f to %.2f)", time.Second
	}
	highest := -lowest(all, func(s sample) time.Duration { return -of(s) })
	return fmt.Sprintf(format, ratio(median(all, of), unit), ratio(lowest(all, of), unit), ratio(highest, unit))
}

func ms(d time.Duration) float64 { return ratio(d, time.Millisecond) }
func mb(kib int64) float64       { return float64(kib) * 1024 / 1e6 }

// ratio returns a to b, and 0 if nothing was measured.
func ratio(a, b time.Duration) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

type size struct {
	name  string
	bytes int64
}

// sizes puts our binary first; the others are what the spike needs in a guest.
func sizes(dist string) ([]size, error) {
	var all []size
	for _, file := range []string{filepath.Join(dist, "felhom-controller-bootstrap"), "docker", "jq"} {
		path, err := exec.LookPath(file)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		all = append(all, size{strings.TrimPrefix(file, dist+"/"), info.Size()})
	}
	return all, nil
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

// targets prints the limits beside what was measured, and returns the first error
// of all lines.
func (p *printer) targets(all []target) error {
	p.line("\n**targets**\n\n| | target | median | lowest | |\n|---|---|---|---|---|")
	for _, t := range all {
		verdict := "yes"
		if t.median > t.limit {
			verdict = "**no**"
		}
		p.line("| %s | ≤ %g %[3]s | %.2[4]f %[3]s | %.2[5]f %[3]s | %[6]s |", t.text, t.limit, t.unit, t.median, t.lowest, verdict)
	}
	return p.err
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
