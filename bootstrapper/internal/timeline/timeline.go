// Package timeline draws a recorded run as a picture. Call [SVG]. Each step is
// a bar that shows when it began and how long it took. The picture is one SVG
// file that refers to no other, suits light and dark pages, and is the same for
// the same record.
package timeline

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
)

// The picture's measures, in its own units.
const (
	width    = 860
	left     = 108 // x of the first bar's start
	right    = 92  // space after the last bar, for its figure
	top      = 66
	row      = 30
	bar      = 16
	bottom   = 40
	leastBar = 3 // a step that took no time is visible, too
	wantTick = 8
)

// style has the colours of both kinds of page. Text uses the reader's own font.
const style = `
svg { color-scheme: light dark; font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
.page { fill: #ffffff } .text { fill: #1f2328 } .faint { fill: #59636e } .line { stroke: #d1d9e0 } .mark { stroke: #59636e }
.title { font-size: 15px; font-weight: 600 } .small { font-size: 11px }
.unchanged { fill: #8c959f } .changed { fill: #2f81d6 } .repaired { fill: #8250df } .degraded { fill: #d4a017 } .failed { fill: #cf222e }
.early { fill: #d1d9e0 }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 } .text { fill: #f0f6fc } .faint { fill: #9198a1 } .line { stroke: #3d444d } .mark { stroke: #9198a1 }
.unchanged { fill: #767e87 } .changed { fill: #4493f8 } .repaired { fill: #ab7df8 } .degraded { fill: #d29922 } .failed { fill: #f85149 }
.early { fill: #3d444d }
}
`

// SVG draws the record.
func SVG(r record.Result) []byte {
	offset := 0.0 // of the run, from the start of the picture
	if r.Boot != nil {
		offset = r.Boot.RunMS
	}
	// A run long after the guest's start is not part of its boot.
	boot := r.Boot != nil && offset <= bootLimit
	if !boot {
		offset = 0
	}
	rows := rowsOf(r, offset, boot)
	end := offset + float64(r.Finished.Sub(r.Started).Microseconds())/1000
	for _, b := range rows {
		end = math.Max(end, b.start+b.length)
	}
	end = math.Max(end, 1)
	scale := float64(width-left-right) / end

	d := drawing{height: top + row*len(rows) + bottom}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`,
		width, d.height, width, d.height, escape(title(r)))
	d.printf("<style>%s</style>", style)
	d.printf(`<rect class="page" width="%d" height="%d" rx="6"/>`, width, d.height)
	d.printf(`<text class="text title" x="16" y="27">%s</text>`, escape(title(r)))
	d.printf(`<text class="faint small" x="16" y="45">%s</text>`, escape(subtitle(r, boot)))
	d.axis(end, scale)
	if boot {
		d.mark(left+offset*scale, "run begins")
	}
	for i, b := range rows {
		d.bar(i, b, scale)
	}
	d.printf("</svg>")
	return d.out.Bytes()
}

// bootLimit is how long after the guest's init a run may begin and still belong
// to its boot.
const bootLimit = 60_000 // ms

// line is one row: a bar that begins at start.
type line struct {
	name, class, title string
	start, length      float64 // ms
}

func rowsOf(r record.Result, offset float64, boot bool) []line {
	var rows []line
	if boot {
		rows = append(rows, line{"init", "early", "the guest's init until the run begins", 0, offset})
		if e := r.Boot.EngineMS; e > 0 && e < offset+total(r) {
			until := offset + total(r)
			for _, s := range r.Steps {
				if s.Step == "engine" { // it answers from then on
					until = math.Max(offset+s.StartMS+s.DurationMS, e)
				}
			}
			rows = append(rows, line{"dockerd", "early", "dockerd begins until it answers", e, until - e})
		}
	}
	for _, s := range r.Steps {
		text := s.Step + ": " + s.Result + " in " + duration(s.DurationMS)
		if s.Message != "" {
			text += ", " + s.Message
		}
		rows = append(rows, line{s.Step, class(s.Result), text, offset + s.StartMS, s.DurationMS})
	}
	return rows
}

func total(r record.Result) float64 {
	return float64(r.Finished.Sub(r.Started).Microseconds()) / 1000
}

// class returns the bar's class. A result that only a later version has looks like
// unchanged.
func class(result string) string {
	switch result {
	case "changed", "repaired", "degraded", "failed":
		return result
	}
	return "unchanged"
}

func title(r record.Result) string {
	text := fmt.Sprintf("Bootstrap: %s in %s", r.Result, duration(total(r)))
	if r.ExitCode != 0 {
		text += fmt.Sprintf(", exit code %d (%s)", r.ExitCode, r.Class)
	}
	return text
}

func subtitle(r record.Result, boot bool) string {
	parts := []string{r.Started.UTC().Format("2006-01-02 15:04:05 UTC"), "run " + r.Run}
	if r.Try > 1 {
		parts = append(parts, "try "+strconv.Itoa(r.Try))
	}
	if r.Image != "" {
		parts = append(parts, r.Image)
	}
	if boot {
		parts = append(parts, "time since the guest's init")
	} else {
		parts = append(parts, "time since the run began")
	}
	return strings.Join(parts, " · ")
}

type drawing struct {
	out    bytes.Buffer
	height int
}

func (d *drawing) printf(format string, args ...any) {
	fmt.Fprintf(&d.out, format+"\n", args...)
}

func (d *drawing) axis(end, scale float64) {
	step := tick(end)
	y := d.height - bottom + 6
	for i := 0; float64(i)*step <= end; i++ {
		x := left + float64(i)*step*scale
		d.printf(`<line class="line" x1="%[1]s" y1="%[2]d" x2="%[1]s" y2="%[3]d"/>`, number(x), top-6, y)
		d.printf(`<text class="faint small" x="%s" y="%d" text-anchor="middle">%s</text>`, number(x), y+16, duration(float64(i)*step))
	}
}

func (d *drawing) mark(x float64, text string) {
	d.printf(`<line class="mark" stroke-dasharray="3 3" x1="%[1]s" y1="%[2]d" x2="%[1]s" y2="%[3]d"><title>%[4]s</title></line>`,
		number(x), top-6, d.height-bottom+6, escape(text))
}

func (d *drawing) bar(i int, b line, scale float64) {
	y := top + row*i
	x, w := left+b.start*scale, math.Max(b.length*scale, leastBar)
	d.printf(`<text class="text" x="%d" y="%d" text-anchor="end">%s</text>`, left-10, y+bar-3, escape(b.name))
	d.printf(`<rect class="%s" x="%s" y="%d" width="%s" height="%d" rx="3"><title>%s</title></rect>`,
		b.class, number(x), y, number(w), bar, escape(b.title))
	figure := duration(b.length)
	if b.class != "early" && b.class != "unchanged" {
		figure += " " + b.class
	}
	if at := x + w + 6; at < width-right-20 || x < left+150 {
		d.printf(`<text class="faint small" x="%s" y="%d">%s</text>`, number(at), y+bar-4, escape(figure))
		return
	}
	d.printf(`<text class="faint small" x="%s" y="%d" text-anchor="end">%s</text>`, number(x-6), y+bar-4, escape(figure))
}

// tick returns the distance of the axis's lines: 1, 2 or 5 times a power of
// ten.
func tick(end float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(end/wantTick)))
	for _, m := range []float64{1, 2, 5} {
		if end/(m*power) <= wantTick {
			return m * power
		}
	}
	return 10 * power
}

// duration returns d in short form, with few digits.
func duration(ms float64) string {
	switch {
	case ms >= 10_000:
		return number(math.Round(ms/100)/10) + " s"
	case ms >= 1000:
		return number(math.Round(ms/10)/100) + " s"
	case ms >= 10 || ms == 0:
		return number(math.Round(ms)) + " ms"
	}
	return number(math.Round(ms*10)/10) + " ms"
}

func number(f float64) string {
	return strconv.FormatFloat(math.Round(f*100)/100, 'f', -1, 64)
}

func escape(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a write to a buffer does not fail
	return b.String()
}
