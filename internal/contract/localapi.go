package contract

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/jsondoc"
)

// The paths of the local API, as net/http's ServeMux takes them.
const (
	PathGuest        = "/guest"                 // GET: Guest
	PathStorage      = "/storage"               // GET: Storage of the calling guest
	PathGuestStorage = "/guests/{vmid}/storage" // GET: Storage of that guest, the caller's own only
	PathReports      = "/reports"               // POST: Report
	PathHealth       = "/health"                // GET, on the agent's Unix socket only
)

// Limits of the local API.
const (
	MaxReportBytes   = 16 << 10 // body of POST /reports
	MaxResponseBytes = 64 << 10 // what a guest reads of any answer
	MaxMessageBytes  = 2 << 10  // Report.Message and Report.Hint
)

// Guest is the answer to GET /guest: who the caller is to the agent.
type Guest struct {
	Guest  int       `json:"guest"`   // VMID
	HostID string    `json:"host_id"` // as in bootstrap.json
	Agent  string    `json:"agent"`   // version of felhom-agentd
	Time   time.Time `json:"time"`    // the host's clock, so that a guest notices that its own is wrong
}

// StorageState reports whether a guest has room left.
type StorageState string

// The storage states.
const (
	StorageOK      StorageState = "ok"
	StorageLow     StorageState = "low"     // some file system is nearly full
	StorageFull    StorageState = "full"    // some file system is full
	StorageUnknown StorageState = "unknown" // the host does not know
)

// Storage is the answer to GET /storage.
type Storage struct {
	Storage     StorageState `json:"storage"`
	Guest       int          `json:"guest"`
	Filesystems []Filesystem `json:"filesystems,omitempty"`
}

// Filesystem is one file system of a guest. Used and available need not add up
// to the size: file systems keep a reserve.
type Filesystem struct {
	Path           string `json:"path"` // in the guest, "/" for its root
	SizeBytes      uint64 `json:"size_bytes"`
	UsedBytes      uint64 `json:"used_bytes"`
	AvailableBytes uint64 `json:"available_bytes"`
}

// Problem is the body of every answer that is not a success.
type Problem struct {
	Error   string `json:"error"`   // a word for programs: "unauthorized", "forbidden", ...
	Message string `json:"message"` // a sentence for people
}

// Step names a part of the bootstrap.
type Step string

// The steps in their order, and the run as a whole.
const (
	StepMount     Step = "mount"
	StepChannel   Step = "channel"
	StepEngine    Step = "engine"
	StepImage     Step = "image"
	StepSettings  Step = "settings"
	StepContainer Step = "container"
	StepReady     Step = "ready"
	StepRun       Step = "run" // the last report of a run, about all of it
)

// Steps returns the steps of a bootstrap in their order, without [StepRun].
func Steps() []Step {
	return []Step{StepMount, StepChannel, StepEngine, StepImage, StepSettings, StepContainer, StepReady}
}

// State is the state of a step.
type State string

// The states. After a degraded step, which failed, the run continues.
const (
	StateStarted  State = "started"
	StateDone     State = "done"
	StateFailed   State = "failed"
	StateDegraded State = "degraded"
	StateSkipped  State = "skipped"
)

// Result is the result of a step that is done.
type Result string

// The results.
const (
	ResultNone      Result = ""          // not done, or nothing to report
	ResultUnchanged Result = "unchanged" // nothing had to be done
	ResultChanged   Result = "changed"   // made or replaced
	ResultRepaired  Result = "repaired"  // existed, but was damaged
)

// Report is the body of POST /reports: one event of one run in a guest. Run
// and Sequence identify it, so that sending it again changes nothing.
type Report struct {
	Run        string    `json:"run"`      // opaque id of one bootstrapper run, 1 to 64 of [A-Za-z0-9_-]
	Sequence   uint64    `json:"sequence"` // from 1, rising within a run; at most 2^53-1
	Time       time.Time `json:"time"`     // the guest's clock, RFC 3339
	Step       Step      `json:"step"`
	State      State     `json:"state"`
	Result     Result    `json:"result,omitempty"`
	Message    string    `json:"message,omitempty"` // from a guest: escape before showing it
	Hint       string    `json:"hint,omitempty"`    // what to do if the step failed; likewise
	Class      string    `json:"class,omitempty"`   // exit class name of docs/exit-codes.md
	ExitCode   int       `json:"exit_code,omitempty"`
	DurationMS int64     `json:"duration_ms,omitempty"`
	Version    string    `json:"version,omitempty"` // of the bootstrapper
}

const stillRuns = "still runs "

// StillRuns returns the message of a run that failed, while the controller that was
// ready before it, of that image, is ready now.
func StillRuns(image, message string) string { return stillRuns + image + ": " + message }

// StillRunning returns the image of a message that [StillRuns] made, "" if it is
// another message. The message is a guest's: escape the image before showing it.
func StillRunning(message string) string {
	rest, ok := strings.CutPrefix(message, stillRuns)
	image, _, isCut := strings.Cut(rest, ": ")
	if _, err := ParseImageRef(image); !ok || !isCut || err != nil {
		return ""
	}
	return image
}

// maxSequence is the largest whole number that every JSON reader keeps exact.
const maxSequence = 1<<53 - 1

// ParseReport reads a report from an untrusted guest. An error is a
// *[jsondoc.InvalidError]; its text may be sent back.
func ParseReport(data []byte) (Report, error) {
	d := jsondoc.Read(data, format("report", MaxReportBytes))
	rep := parseReport(d)
	if err := d.Findings().Err(); err != nil {
		return Report{}, err
	}
	return rep, nil
}

func parseReport(d *jsondoc.Document) (rep Report) {
	o := d.Root([]string{
		"run", "sequence", "time", "step", "state", "result", "message", "hint", "class", "exit_code", "duration_ms", "version",
	})
	if o == nil {
		return rep
	}
	for _, key := range []string{"run", "sequence", "time", "step", "state"} {
		o.Need(key, "every report has it")
	}
	rep.Run, _ = jsondoc.Text(o, "run", RuleReport, checked(checkRunID))
	rep.Sequence = uint64(o.IntIn("sequence", RuleReport, 1, maxSequence))
	rep.Time, _ = jsondoc.Text(o, "time", RuleReport, parseTime)
	rep.Step, _ = jsondoc.Text(o, "step", RuleReport, oneOf(append(Steps(), StepRun)...))
	rep.State, _ = jsondoc.Text(o, "state", RuleReport, oneOf(StateStarted, StateDone, StateFailed, StateDegraded, StateSkipped))
	rep.Result, _ = jsondoc.Text(o, "result", RuleReport, oneOf(ResultNone, ResultUnchanged, ResultChanged, ResultRepaired))
	rep.Message, _ = jsondoc.Text(o, "message", RuleReport, checked(checkLength(MaxMessageBytes)))
	rep.Hint, _ = jsondoc.Text(o, "hint", RuleReport, checked(checkLength(MaxMessageBytes)))
	rep.Class, _ = jsondoc.Text(o, "class", RuleReport, checked(checkLength(32)))
	rep.ExitCode = int(o.IntIn("exit_code", RuleReport, 0, 255))
	rep.DurationMS = o.IntIn("duration_ms", RuleReport, 0, maxSequence)
	rep.Version, _ = jsondoc.Text(o, "version", RuleReport, checked(checkLength(64)))
	return rep
}

func checkRunID(s string) error {
	if len(s) < 1 || len(s) > 64 || strings.ContainsFunc(s, func(c rune) bool {
		return c > 0x7f || !isAlnum(byte(c)) && c != '-' && c != '_'
	}) {
		return fmt.Errorf("write 1 to 64 letters, digits, hyphens and underscores")
	}
	return nil
}

func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("write the time as in RFC 3339: 2026-01-31T12:00:00Z")
	}
	// time.Parse accepts more than MarshalJSON (a zone of +24:00, a year that the
	// zone moves out of the range): a time that cannot be stored is refused here.
	kept, err := t.MarshalJSON()
	if err == nil {
		err = new(time.Time).UnmarshalJSON(kept)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("write the time as in RFC 3339, with a zone of less than 24 hours: 2026-01-31T12:00:00Z")
	}
	return t, nil
}

// oneOf makes a parser that accepts the given words only.
func oneOf[T ~string](known ...T) func(string) (T, error) {
	return func(s string) (T, error) {
		if !slices.Contains(known, T(s)) {
			return "", fmt.Errorf("unknown word; want one of %s", words(known))
		}
		return T(s), nil
	}
}

// words returns a list as a sentence has it.
func words[T ~string](list []T) string {
	var texts []string
	for _, word := range list {
		texts = append(texts, string(word))
	}
	return strings.Join(texts, ", ")
}

func checkLength(limit int) func(string) error {
	return func(s string) error {
		if len(s) > limit {
			return fmt.Errorf("the text is %d bytes long; at most %d are accepted", len(s), limit)
		}
		return nil
	}
}
