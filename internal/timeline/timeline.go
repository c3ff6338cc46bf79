// Package timeline draws the steps of a run as a picture. Call [SVG]. Each step is
// a bar that shows when it began and how long it took. The picture is one SVG
// file that refers to no other, suits light and dark pages, and is the same for
// the same steps.
package timeline

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
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

// The classes of a bar, which give its colour. Another class looks like Unchanged.
const (
	Early     = "early" // before the steps
	Unchanged = "unchanged"
	Changed   = "changed"
	Repaired  = "repaired"
	Degraded  = "degraded"
	Failed    = "failed"
)

// Picture is what is drawn. Texts may come from a guest.
type Picture struct {
	Title    string
	Subtitle []string // parts of one line
	Bars     []Bar    // from the top
	EndMS    float64  // of the axis, at least; a bar that ends later makes it longer
	Mark     *Mark    // nil: none
}

// Bar is a step: when it began, and how long it took.
type Bar struct {
	Name, Class       string
	Text              string // shown while a mouse is over the bar
	StartMS, LengthMS float64
}

// Mark is a moment of the whole picture.
type Mark struct {
	AtMS float64
	Text string
}

// maxMS is about thirty years. A guest may report any number, and those of any size
// have a sum that is not a number.
const maxMS = 1e12

func bounded(ms float64) float64 {
	if math.IsNaN(ms) {
		return 0
	}
	return math.Min(math.Max(ms, 0), maxMS)
}

// SVG draws the picture. Times before the beginning are drawn at the beginning, and
// those after thirty years are drawn there.
func SVG(p Picture) []byte {
	end := math.Max(bounded(p.EndMS), 1)
	p.Bars = slices.Clone(p.Bars)
	for i := range p.Bars {
		b := &p.Bars[i]
		b.StartMS, b.LengthMS = bounded(b.StartMS), bounded(b.LengthMS)
		end = math.Max(end, b.StartMS+b.LengthMS)
	}
	scale := float64(width-left-right) / end

	d := drawing{height: top + row*len(p.Bars) + bottom}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-label="%s">`,
		width, d.height, width, d.height, escape(p.Title))
	d.printf("<style>%s</style>", style)
	d.printf(`<rect class="page" width="%d" height="%d" rx="6"/>`, width, d.height)
	d.printf(`<text class="text title" x="16" y="27">%s</text>`, escape(p.Title))
	d.printf(`<text class="faint small" x="16" y="45">%s</text>`, escape(strings.Join(p.Subtitle, " · ")))
	d.axis(end, scale)
	if p.Mark != nil {
		d.mark(left+bounded(p.Mark.AtMS)*scale, p.Mark.Text)
	}
	for i, b := range p.Bars {
		d.bar(i, b, scale)
	}
	d.printf("</svg>")
	return d.out.Bytes()
}

// classOf returns the bar's class. A class that only a later version has looks
// like unchanged.
func classOf(class string) string {
	switch class {
	case Early, Changed, Repaired, Degraded, Failed:
		return class
	}
	return Unchanged
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
		d.printf(`<text class="faint small" x="%s" y="%d" text-anchor="middle">%s</text>`, number(x), y+16, Duration(float64(i)*step))
	}
}

func (d *drawing) mark(x float64, text string) {
	d.printf(`<line class="mark" stroke-dasharray="3 3" x1="%[1]s" y1="%[2]d" x2="%[1]s" y2="%[3]d"><title>%[4]s</title></line>`,
		number(x), top-6, d.height-bottom+6, escape(text))
}

func (d *drawing) bar(i int, b Bar, scale float64) {
	y := top + row*i
	class := classOf(b.Class)
	x, w := left+b.StartMS*scale, math.Max(b.LengthMS*scale, leastBar)
	d.printf(`<text class="text" x="%d" y="%d" text-anchor="end">%s</text>`, left-10, y+bar-3, escape(b.Name))
	d.printf(`<rect class="%s" x="%s" y="%d" width="%s" height="%d" rx="3"><title>%s</title></rect>`,
		class, number(x), y, number(w), bar, escape(b.Text))
	figure := Duration(b.LengthMS)
	if class != Early && class != Unchanged {
		figure += " " + class
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

// Duration returns milliseconds in short form, with few digits.
func Duration(ms float64) string {
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
