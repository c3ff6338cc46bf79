package guests

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/felhom/felhom-golden/internal/atomicfile"
	"github.com/felhom/felhom-golden/internal/contract"
)

// maxSteps limits how many different steps of one run are kept. A bootstrapper
// has eight; a guest that reports more would fill the host's disk.
const maxSteps = 16

// Progress is what a guest reported of its last run.
type Progress struct {
	Version     int        `json:"version"`
	VMID        int        `json:"vmid"`
	Run         string     `json:"run"`
	PreviousRun string     `json:"previous_run,omitempty"` // its late reports are accepted and dropped
	Sequence    uint64     `json:"sequence"`               // highest seen of Run
	Received    time.Time  `json:"received"`               // by the host's clock
	Steps       []Received `json:"steps"`                  // the last of each step, by sequence

	// Failure is the last report of a failure that no success has followed, also
	// if the guest has started another try since, in this run or another. nil:
	// there is none.
	Failure *Received `json:"last_failure,omitempty"`
}

// Received is one report with the host's time.
type Received struct {
	Received time.Time       `json:"received"`
	Report   contract.Report `json:"report"`
}

// Last returns the report with the highest sequence number.
func (p Progress) Last() (Received, bool) {
	if len(p.Steps) == 0 {
		return Received{}, false
	}
	return p.Steps[len(p.Steps)-1], true
}

// guestReports is the content of a guest's file, and what the writer keeps in
// memory until the file has it.
type guestReports struct {
	Progress
	Record string `json:"record,omitempty"` // identity of the record that the guest had
	Logged uint64 `json:"logged,omitempty"` // the file has all lines of the log up to this number
}

func (g guestReports) clone() guestReports {
	g.Steps = slices.Clone(g.Steps)
	return g
}

// apply adds one line of the log and reports whether the line was new to g.
func (g *guestReports) apply(line logged) bool {
	if line.Number <= g.Logged {
		return false
	}
	g.Logged, g.Record = line.Number, line.Record
	if !g.add(line.Report, line.Received) {
		return false
	}
	g.Received = line.Received
	return true
}

// RemoveReports removes the file of what guest vmid reported, for good. Lines about it in
// the log belong to the guest's record: remove that as well.
func (s *Store) RemoveReports(vmid int) error {
	if err := atomicfile.Remove(s.dirs.files(), fileName(vmid)); err != nil {
		return fmt.Errorf("remove reports of guest %d: %w", vmid, err)
	}
	return nil
}

func (p *Progress) add(r contract.Report, now time.Time) bool {
	if p.Run != "" && r.Run == p.PreviousRun {
		return false
	}
	if r.Run != p.Run {
		*p = Progress{Version: p.Version, VMID: p.VMID, Run: r.Run, PreviousRun: p.Run, Failure: p.Failure}
	}
	at := slices.IndexFunc(p.Steps, func(k Received) bool { return k.Report.Step == r.Step })
	if at >= 0 {
		if r.Sequence <= p.Steps[at].Report.Sequence {
			return false
		}
		p.Steps = slices.Delete(p.Steps, at, at+1)
	}
	p.Steps = append(p.Steps, Received{Received: now, Report: r})
	p.noteFailure(Received{Received: now, Report: r})
	slices.SortStableFunc(p.Steps, func(a, b Received) int { return cmp.Compare(a.Report.Sequence, b.Report.Sequence) })
	if over := len(p.Steps) - maxSteps; over > 0 {
		p.Steps = slices.Delete(p.Steps, 0, over)
	}
	p.Sequence = max(p.Sequence, r.Sequence)
	return true
}

// noteFailure keeps got if it is a failure, and drops the failure before it if
// got reports a success of the same step or of the whole run. A failure of a
// step is preferred to that of the whole run, which says less. Reports can
// arrive out of order: the result is that of their sequence.
func (p *Progress) noteFailure(got Received) {
	r, was := got.Report, p.Failure
	isNew := was == nil || was.Report.Run != r.Run // a failure is the first of its run
	isLater := isNew || was.Report.Sequence < r.Sequence
	switch {
	case r.State == contract.StateFailed:
		isPreferred := !isNew && was.Report.Step == contract.StepRun && r.Step != contract.StepRun
		isLess := !isNew && was.Report.Step != contract.StepRun && r.Step == contract.StepRun
		if (isLater && !isLess || isPreferred) && !p.ranSince(r) {
			p.Failure = &got
		}
	case was == nil || !isLater || !isSuccess(r):
	case r.Step == contract.StepRun:
		p.Failure = nil
	case r.Step == was.Report.Step:
		p.Failure = nil
		if at := slices.IndexFunc(p.Steps, func(k Received) bool {
			return k.Report.Step == contract.StepRun && k.Report.State == contract.StateFailed && k.Report.Sequence > r.Sequence
		}); at >= 0 {
			run := p.Steps[at]
			p.Failure = &run
		}
	}
}

// ranSince reports whether the whole run succeeded after r was made.
func (p *Progress) ranSince(r contract.Report) bool {
	return slices.ContainsFunc(p.Steps, func(k Received) bool {
		return k.Report.Step == contract.StepRun && isSuccess(k.Report) && k.Report.Sequence > r.Sequence
	})
}

func isSuccess(r contract.Report) bool {
	return r.State == contract.StateDone || r.State == contract.StateDegraded || r.State == contract.StateSkipped
}

// Progress returns all that guest vmid reported and the host acknowledged, or
// ErrNotFound if it reported nothing yet. It may be called in any process.
func (s *Store) Progress(vmid int) (Progress, error) {
	r, err := s.Get(vmid)
	isKnown := err == nil || errors.Is(err, ErrNotFound) // otherwise nothing is compared with the record
	// The log comes first: lines that are removed from it meanwhile are in the
	// file by then.
	lines, err := s.follower.lines(s.dirs.logs(), vmid)
	if err != nil {
		return Progress{}, err
	}
	g, err := s.readReports(vmid)
	if err != nil && !errors.Is(err, ErrNotFound) && len(lines) == 0 {
		return Progress{}, err
	}
	if isKnown && !r.owns(g.Record, g.Received) {
		g = emptyReports(vmid)
	}
	for _, line := range lines {
		if !isKnown || r.owns(line.Record, line.Received) {
			g.apply(line)
		}
	}
	if len(g.Steps) == 0 {
		return Progress{}, ErrNotFound
	}
	return g.Progress, nil
}

func emptyReports(vmid int) guestReports {
	return guestReports{Progress: Progress{Version: recordVersion, VMID: vmid}}
}

// readReports reads a guest's file. With an error it returns empty reports.
func (s *Store) readReports(vmid int) (guestReports, error) {
	name := fileName(vmid)
	data, err := readBounded(s.dirs.files(), name, 2*maxSteps*contract.MaxReportBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return emptyReports(vmid), ErrNotFound
	}
	if err != nil {
		return emptyReports(vmid), fmt.Errorf("reports: %w", err)
	}
	var g guestReports
	if err := json.Unmarshal(data, &g); err != nil {
		return emptyReports(vmid), fmt.Errorf("reports/%s: %w", name, err)
	}
	if g.Version != recordVersion || g.VMID != vmid {
		return emptyReports(vmid), fmt.Errorf("reports/%s: version %d of guest %d, want version %d of guest %d", name, g.Version, g.VMID, recordVersion, vmid)
	}
	return g, nil
}
