package statuspage

import (
	"cmp"
	"math"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/guests"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/termtext"
	"github.com/felhom/felhom-golden/internal/timeline"
)

// longest bounds the time that a picture shows. A guest sets its own clock, and
// reports how long its steps took.
const longest = 7 * 24 * time.Hour

// Timeline draws the last report of each step of a guest's run.
func Timeline(p guests.Progress) []byte {
	pic := timeline.Picture{Title: "No step has been reported", Subtitle: []string{"run " + termtext.Line(p.Run, maxShort)}}
	var first time.Time
	for _, s := range p.Steps {
		if begin := begins(s.Report); s.Report.Step != contract.StepRun && (first.IsZero() || begin.Before(first)) {
			first = begin
		}
	}
	for _, s := range p.Steps {
		r := s.Report
		text := string(r.State)
		if r.Message != "" {
			text += ", " + termtext.Line(r.Message, maxMessage)
		}
		if r.Step == contract.StepRun {
			pic.Title = "Bootstrap: " + termtext.Line(text, maxShort)
			continue
		}
		pic.Bars = append(pic.Bars, timeline.Bar{
			Name: string(r.Step), Class: class(r), Text: string(r.Step) + ": " + text,
			StartMS: limited(float64(begins(r).Sub(first).Milliseconds())), LengthMS: limited(float64(r.DurationMS)),
		})
	}
	if len(pic.Bars) > 0 {
		if pic.Title == "No step has been reported" {
			pic.Title = "Bootstrap: not at its end"
		}
		pic.Subtitle = append([]string{first.UTC().Format("2006-01-02 15:04:05 UTC")}, append(pic.Subtitle, "time since the first step, by the guest's clock")...)
	}
	return timeline.SVG(pic)
}

func begins(r contract.Report) time.Time {
	return r.Time.Add(-time.Duration(limited(float64(r.DurationMS))) * time.Millisecond)
}

func limited(ms float64) float64 {
	return math.Min(math.Max(ms, 0), float64(longest.Milliseconds()))
}

func class(r contract.Report) string {
	switch r.State {
	case contract.StateFailed:
		return timeline.Failed
	case contract.StateDegraded:
		return timeline.Degraded
	}
	return cmp.Or(string(r.Result), timeline.Unchanged)
}
