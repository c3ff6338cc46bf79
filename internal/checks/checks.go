// Package checks runs named checks and shows what they found, for the command
// doctor of the host's and the guest's program. Make a list of [Check], call
// [Run], then [Report.Text] or [Report.JSON] and [Report.Err]. The checks run
// at the same time, each with its own deadline, so that a check that hangs
// loses only its own result. The findings are in the order of the list.
package checks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Result is the result of a check.
type Result string

// The results, from the best to the worst.
const (
	OK      Result = "ok"
	Warning Result = "warning" // works, and can be better or may fail soon
	Unknown Result = "unknown" // could not be checked
	Failed  Result = "failed"
)

var order = []Result{OK, Warning, Unknown, Failed}

// Finding is one thing that a check found.
type Finding struct {
	Result Result
	Reason string
	Remedy string     // what to do; empty with OK
	Kind   fault.Kind // with Failed
}

// Fine returns a finding of something that is right.
func Fine(format string, args ...any) Finding {
	return Finding{Result: OK, Reason: fmt.Sprintf(format, args...)}
}

// Warn returns a warning.
func Warn(remedy, format string, args ...any) Finding {
	return Finding{Result: Warning, Reason: fmt.Sprintf(format, args...), Remedy: remedy}
}

// NotKnown returns the finding of a check that could not be made.
func NotKnown(remedy, format string, args ...any) Finding {
	return Finding{Result: Unknown, Reason: fmt.Sprintf(format, args...), Remedy: remedy}
}

// Fail returns a failure.
func Fail(kind fault.Kind, remedy, format string, args ...any) Finding {
	return Finding{Result: Failed, Reason: fmt.Sprintf(format, args...), Remedy: remedy, Kind: kind}
}

// FromError returns a failure for each error that err joins, none for nil, with
// their kinds and hints; remedy is for those without a hint.
func FromError(err error, remedy string) []Finding {
	var out []Finding
	for _, one := range fault.Each(err) {
		f := Finding{Result: Failed, Reason: one.Error(), Remedy: fault.HintOf(one), Kind: fault.Of(one)}
		if f.Remedy == "" {
			f.Remedy = remedy
		}
		out = append(out, f)
	}
	return out
}

// Check is one named check. Look returns what it found, at least one finding. It
// must return soon after ctx is done; otherwise Run does not wait for it.
type Check struct {
	Name string
	Look func(ctx context.Context) []Finding
}

// Row is what a check found, as it is shown.
type Row struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy,omitempty"`

	kind fault.Kind
}

// Report is what all checks found.
type Report struct {
	Result Result `json:"result"` // the worst of all
	Rows   []Row  `json:"checks"` // by check, in the order of the list

	left bool
}

// The limits of the text of one check, which may come from outside.
const (
	maxFindings = 20
	maxReason   = 600
	maxRemedy   = 1200
)

// Run runs all checks, each for at most limit. hide removes secrets from what
// they say; it may be nil.
func Run(ctx context.Context, list []Check, limit time.Duration, hide func(string) string) Report {
	found := make([]chan []Finding, len(list))
	end, stop := context.WithTimeout(ctx, limit+grace)
	defer stop()
	ctx, cancel := context.WithTimeout(end, limit)
	defer cancel()
	for i, c := range list {
		found[i] = make(chan []Finding, 1)
		go func() { found[i] <- look(ctx, c) }()
	}
	report := Report{Result: OK}
	for i, c := range list {
		got, ok := next(end, found[i])
		if !ok {
			report.left = true
			got = []Finding{NotKnown("run it again; if it stays, look at what this check waits for: storage, network or another program", "no result after %s", limit)}
		}
		report.add(c.Name, got, hide)
	}
	return report
}

// LeftBehind reports whether a check was left behind: what it looks at may still
// be used.
func (r Report) LeftBehind() bool { return r.left }

// next waits for what a check found, until end is done.
func next(end context.Context, found <-chan []Finding) (got []Finding, ok bool) {
	select {
	case got = <-found:
		return got, true
	case <-end.Done():
	}
	select { // both may be so by now
	case got = <-found:
		return got, true
	default:
		return nil, false
	}
}

// grace is for the checks that return because their context is done.
const grace = time.Second

// look runs one check. The result of a check that panics is unknown.
func look(ctx context.Context, c Check) (got []Finding) {
	defer func() {
		if cause := recover(); cause != nil {
			got = []Finding{NotKnown("report this as a bug", "the check itself failed: %v", cause)}
		}
	}()
	if got = c.Look(ctx); len(got) == 0 {
		return []Finding{NotKnown("report this as a bug", "the check said nothing")}
	}
	return got
}

func (r *Report) add(name string, found []Finding, hide func(string) string) {
	if hide == nil {
		hide = func(s string) string { return s }
	}
	// The worst first, so that a limit costs the least.
	slices.SortStableFunc(found, func(a, b Finding) int { return slices.Index(order, b.Result) - slices.Index(order, a.Result) })
	rest := 0
	if len(found) > maxFindings {
		rest = len(found) - maxFindings
		found = found[:maxFindings]
	}
	for i, f := range found {
		row := Row{Check: name, Result: f.Result, Reason: clean(hide(f.Reason), maxReason), Remedy: clean(hide(f.Remedy), maxRemedy), kind: f.Kind}
		if rest > 0 && i == len(found)-1 {
			row.Reason += fmt.Sprintf(" (and %d more)", rest)
		}
		if slices.Index(order, f.Result) > slices.Index(order, r.Result) {
			r.Result = f.Result
		}
		r.Rows = append(r.Rows, row)
	}
}

// clean bounds a text of several lines and makes it harmless.
func clean(text string, limit int) string {
	return termtext.Cut(strings.TrimRight(termtext.Lines(text), "\n"), limit)
}

// Text returns the report for people: a line for each finding, with what to do
// below those that are not right.
func (r Report) Text() string {
	width, count := 0, map[Result]int{}
	for _, row := range r.Rows {
		width, count[row.Result] = max(width, len(row.Check)), count[row.Result]+1
	}
	var b strings.Builder
	indent := strings.Repeat(" ", len(Warning)+width+4)
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "%-*s  %-*s  %s\n", len(Warning), row.Result, width, row.Check, strings.ReplaceAll(row.Reason, "\n", "\n"+indent))
		if row.Result != OK && row.Remedy != "" {
			fmt.Fprintf(&b, "%sremedy: %s\n", indent, strings.ReplaceAll(row.Remedy, "\n", "\n"+indent))
		}
	}
	var parts []string
	for _, result := range slices.Backward(order) {
		if n := count[result]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, result))
		}
	}
	fmt.Fprintf(&b, "%s\n", strings.Join(parts, ", "))
	return b.String()
}

// JSON returns the report for programs.
func (r Report) JSON() ([]byte, error) {
	if r.Rows == nil {
		r.Rows = []Row{}
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(termtext.JSON(data), '\n'), nil
}

// Print writes the report to w as text or as JSON, and returns [Report.Err].
func (r Report) Print(w io.Writer, asJSON bool) error {
	data := []byte(r.Text())
	if asJSON {
		var err error
		if data, err = r.JSON(); err != nil {
			return err
		}
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	return r.Err()
}

// Err returns nil if nothing failed and all could be looked at. Of several
// failures the kind is the one that no later try corrects ([fault.All]); without
// a failure it is [fault.NotReady].
func (r Report) Err() error {
	var failed, unknown []string
	var kinds []error
	for _, row := range r.Rows {
		switch row.Result {
		case Failed:
			kinds = append(kinds, fault.Wrap(row.kind, errors.New(row.Check+row.kind.String())))
			failed = append(failed, row.Check)
		case Unknown:
			unknown = append(unknown, row.Check)
		}
	}
	switch {
	case len(failed) > 0:
		return fault.WrapHint(fault.Of(fault.All(kinds...)), fmt.Errorf("failed: %s", names(failed)), "the remedies are in the list")
	case len(unknown) > 0:
		return fault.WrapHint(fault.NotReady, fmt.Errorf("not known: %s", names(unknown)), "the remedies are in the list")
	}
	return nil
}

func names(list []string) string { return strings.Join(slices.Compact(list), ", ") }
