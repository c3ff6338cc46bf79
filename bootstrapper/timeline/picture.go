package main

import (
	"fmt"
	"math"
	"strconv"

	"github.com/felhom/felhom-golden/bootstrapper/internal/record"
	"github.com/felhom/felhom-golden/internal/timeline"
)

// bootLimit is how long after the guest's init a run may begin and still belong
// to its boot.
const bootLimit = 60_000 // ms

// picture returns what is drawn of a recorded run.
func picture(r record.Result) timeline.Picture {
	offset := 0.0 // of the run, from the start of the picture
	if r.Boot != nil {
		offset = r.Boot.RunMS
	}
	// A run long after the guest's start is not part of its boot.
	boot := r.Boot != nil && offset <= bootLimit
	if !boot {
		offset = 0
	}
	p := timeline.Picture{Title: title(r), Subtitle: subtitle(r, boot), Bars: barsOf(r, offset, boot), EndMS: offset + total(r)}
	if boot {
		p.Mark = &timeline.Mark{AtMS: offset, Text: "run begins"}
	}
	return p
}

func barsOf(r record.Result, offset float64, boot bool) []timeline.Bar {
	var bars []timeline.Bar
	if boot {
		bars = append(bars, timeline.Bar{Name: "init", Class: timeline.Early, Text: "the guest's init until the run begins", LengthMS: offset})
		if e := r.Boot.EngineMS; e > 0 && e < offset+total(r) {
			until := offset + total(r)
			for _, s := range r.Steps {
				if s.Step == "engine" { // it answers from then on
					until = math.Max(offset+s.StartMS+s.DurationMS, e)
				}
			}
			bars = append(bars, timeline.Bar{Name: "dockerd", Class: timeline.Early, Text: "dockerd begins until it answers", StartMS: e, LengthMS: until - e})
		}
	}
	for _, s := range r.Steps {
		text := s.Step + ": " + s.Result + " in " + timeline.Duration(s.DurationMS)
		if s.Message != "" {
			text += ", " + s.Message
		}
		bars = append(bars, timeline.Bar{Name: s.Step, Class: s.Result, Text: text, StartMS: offset + s.StartMS, LengthMS: s.DurationMS})
	}
	return bars
}

func total(r record.Result) float64 {
	return float64(r.Finished.Sub(r.Started).Microseconds()) / 1000
}

func title(r record.Result) string {
	text := fmt.Sprintf("Bootstrap: %s in %s", r.Result, timeline.Duration(total(r)))
	if r.ExitCode != 0 {
		text += fmt.Sprintf(", exit code %d (%s)", r.ExitCode, r.Class)
	}
	return text
}

func subtitle(r record.Result, boot bool) []string {
	parts := []string{r.Started.UTC().Format("2006-01-02 15:04:05 UTC"), "run " + r.Run}
	if r.Try > 1 {
		parts = append(parts, "try "+strconv.Itoa(r.Try))
	}
	if r.Image != "" {
		parts = append(parts, r.Image)
	}
	if boot {
		return append(parts, "time since the guest's init")
	}
	return append(parts, "time since the run began")
}
