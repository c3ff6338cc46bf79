package guests

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// maxSteps bounds how many different steps of one run are kept. A bootstrapper
// has seven; more than this is a guest that fills our disk.
const maxSteps = 16

// Progress is what guest vmid reported of its last run.
type Progress struct {
	Version     int        `json:"version"`
	VMID        int        `json:"vmid"`
	Run         string     `json:"run"`
	PreviousRun string     `json:"previous_run,omitempty"` // its late reports are accepted and dropped
	Sequence    uint64     `json:"sequence"`               // highest seen of Run
	Received    time.Time  `json:"received"`               // by the host's clock
	Steps       []Received `json:"steps"`                  // the last of each step, by sequence

	// Failure is the last report of a failure that no success has followed, also
	// when the guest tries again since, in this run or another. nil: there is none.
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

// RemoveReports forgets what guest vmid reported.
func (s *Store) RemoveReports(vmid int) error {
	if err := s.reports.Remove(fileName(vmid)); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
	slices.SortStableFunc(p.Steps, func(a, b Received) int {
		switch {
		case a.Report.Sequence < b.Report.Sequence:
			return -1
		case a.Report.Sequence > b.Report.Sequence:
			return 1
		}
		return 0
	})
	if over := len(p.Steps) - maxSteps; over > 0 {
		p.Steps = slices.Delete(p.Steps, 0, over)
	}
	p.Sequence = max(p.Sequence, r.Sequence)
	return true
}

// noteFailure keeps got if it is a failure, and drops the one that there was if
// got says that it is over. That a whole run failed says less than which of its
// steps did. Reports can arrive in another order than they were made in.
func (p *Progress) noteFailure(got Received) {
	r, was := got.Report, p.Failure
	isNewer := was == nil || was.Report.Run != r.Run || was.Report.Sequence < r.Sequence
	switch {
	case !isNewer:
	case r.State == contract.StateFailed && (r.Step != contract.StepRun || was == nil || was.Report.Run != r.Run || was.Report.Step == contract.StepRun):
		p.Failure = &got
	case was == nil || r.State != contract.StateDone && r.State != contract.StateDegraded && r.State != contract.StateSkipped:
	case r.Step == contract.StepRun || r.Step == was.Report.Step:
		p.Failure = nil
	}
}

// Progress returns what guest vmid reported, or ErrNotFound when nothing yet.
func (s *Store) Progress(vmid int) (Progress, error) {
	name := fileName(vmid)
	data, err := readBounded(s.reports, name, 2*maxSteps*contract.MaxReportBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return Progress{}, ErrNotFound
	}
	if err != nil {
		return Progress{}, fmt.Errorf("reports: %w", err)
	}
	var p Progress
	if err := json.Unmarshal(data, &p); err != nil {
		return Progress{}, fmt.Errorf("reports/%s: %w", name, err)
	}
	if p.Version != recordVersion || p.VMID != vmid {
		return Progress{}, fmt.Errorf("reports/%s: version %d of guest %d, want version %d of guest %d", name, p.Version, p.VMID, recordVersion, vmid)
	}
	return p, nil
}
