package hostapi

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/powercut"
)

// The power is cut after each operation of four runs, of which two reach no host: what was kept for the next
// process is there, and what the host has does not come back. A report that came back after later
// runs would be taken for one of a new run.
func TestBacklogAfterAPowerCut(t *testing.T) {
	c := powercut.NewDisk(t)
	at := c.Mount(t)
	const file = "var/lib/felhom/undelivered-reports.json"
	down := &moody{answer: func(contract.Report) error { return errors.New("connection refused") }}
	type state struct {
		from int // number of operations
		kept []string
	}
	acknowledged := []state{{0, nil}}
	run := func(id string, to sender, wait time.Duration, kept ...string) {
		t.Helper()
		r := NewReporter(filepath.Join(at, file), "v1")
		r.Begin(to, id)
		for _, step := range []contract.Step{contract.StepReady, contract.StepRun} {
			r.Send(contract.Report{Step: step, State: contract.StateFailed, Class: "not-ready", ExitCode: 5})
		}
		closed(t, r, wait, len(kept))
		acknowledged = append(acknowledged, state{c.Length(), kept})
	}
	run("a", down, time.Millisecond, "a 1", "a 2")
	run("b", &moody{}, time.Minute)
	run("c", down, time.Millisecond, "c 1", "c 2")
	run("d", &moody{}, time.Minute)
	if c.Length() < 12 {
		t.Fatalf("%d operations: they were not noted", c.Length())
	}
	c.Cuts(t, 0, func(cut powercut.Cut) {
		dir := t.TempDir()
		cut.Write(t, dir)
		var got []string
		reports, _ := readBacklog(filepath.Join(dir, file))
		for _, r := range reports {
			got = append(got, fmt.Sprint(r.Run, " ", r.Sequence))
		}
		next := slices.IndexFunc(acknowledged, func(s state) bool { return s.from > cut.After })
		may := acknowledged[max(0, len(acknowledged)-1):]
		if next >= 0 {
			may = acknowledged[next-1 : next+1] // the one, or the other that is under way
		}
		if !slices.ContainsFunc(may, func(s state) bool { return slices.Equal(s.kept, got) }) {
			t.Errorf("%s: %v is kept, want one of %v", cut.Name, got, may)
		}
	})
}
