package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
)

const (
	rows       = 26   // of the window; older lines scroll out
	lineHeight = 17   // pixels
	charWidth  = 7.25 // pixels, of 12 px monospace
	margin     = 16
	titleBar   = 30
	endPause   = 6.0 // seconds before it starts again
)

const style = `svg { color-scheme: light dark; font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }
.page { fill: #ffffff; stroke: #d1d9e0 } .bar { fill: #f6f8fa } .text { fill: #1f2328 } .typed { fill: #0550ae; font-weight: 600 } .faint { fill: #59636e }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; stroke: #3d444d } .bar { fill: #151b23 } .text { fill: #f0f6fc } .typed { fill: #79c0ff } .faint { fill: #9198a1 }
}
@media (prefers-reduced-motion: reduce) { .scroll, .scroll text { animation: none !important } .scroll { transform: translateY(%[1]dpx) } }
.scroll { animation: scroll %[2]ss steps(1, end) infinite }
.scroll text { animation: %[2]ss steps(1, end) infinite }
`

// draw returns the picture. Each line appears at its time, and the lines move up when the window is full; then it starts again.
func draw(s session) []byte {
	end := s.lines[len(s.lines)-1].at + endPause
	percent := func(at float64) string { return trim(100 * at / end) }
	width := int(float64(s.columns)*charWidth) + 2*margin
	shown := min(rows, len(s.lines))
	height := titleBar + margin + shown*lineHeight + margin/2
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-label="%[3]s">`, width, height, escape(s.title))
	line("<style>")
	fmt.Fprintf(&b, style, -max(0, len(s.lines)-rows)*lineHeight, trim(end))
	b.WriteString("@keyframes scroll {")
	for i, l := range s.lines {
		if i == 0 || i >= rows {
			fmt.Fprintf(&b, " %s%% { transform: translateY(%dpx) }", percent(l.at), -max(0, i+1-rows)*lineHeight)
		}
	}
	line(" 100%% { transform: translateY(%dpx) } }", -max(0, len(s.lines)-rows)*lineHeight)
	for i, l := range s.lines {
		if i == 0 || l.at != s.lines[i-1].at {
			line("@keyframes %s { 0%% { opacity: 0 } %s%% { opacity: 1 } 100%% { opacity: 1 } }", frame(s, i), percent(l.at))
		}
	}
	line("</style>")
	line(`<clipPath id="window"><rect x="1" y="%d" width="%d" height="%d"/></clipPath>`, titleBar, width-2, height-titleBar-2)
	line(`<rect class="page" x="0.5" y="0.5" width="%d" height="%d" rx="6"/>`, width-1, height-1)
	line(`<path class="bar" d="M1 %[1]dV7a6 6 0 0 1 6-6h%[2]da6 6 0 0 1 6 6v%[3]dz"/>`, titleBar, width-14, titleBar-7)
	line(`<text class="faint" x="%d" y="20">%s</text>`, margin, escape(s.title))
	line(`<g clip-path="url(#window)"><g class="scroll">`)
	for i, l := range s.lines {
		class := "text"
		if strings.HasPrefix(l.text, "$ ") || strings.HasPrefix(l.text, "> ") {
			class = "typed"
		}
		line(`<text class="%s" x="%d" y="%d" xml:space="preserve" style="animation-name: %s">%s</text>`,
			class, margin, titleBar+margin+i*lineHeight+2, frame(s, i), escape(l.text))
	}
	line("</g></g>\n</svg>")
	return b.Bytes()
}

// frame returns the name of the animation of a line: lines of one time share it.
func frame(s session, i int) string {
	for i > 0 && s.lines[i-1].at == s.lines[i].at {
		i--
	}
	return fmt.Sprintf("l%d", i)
}

// trim writes a number with at most two places.
func trim(f float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", f), "0"), ".")
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a builder takes everything
	return b.String()
}
