package contract

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/felhom/felhom-golden/internal/jsondoc"
)

// The encoded forms of the local API's messages: a change here is a change of
// the contract.
func TestMessagesEncoded(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"guest", Guest{Guest: 8200, HostID: "demo-felhom", Agent: "1.0.0", Time: at}, `{"guest":8200,"host_id":"demo-felhom","agent":"1.0.0","time":"2026-01-31T12:00:00Z"}`},
		{"storage of the spike", Storage{Storage: StorageOK, Guest: 8200}, `{"storage":"ok","guest":8200}`},
		{"storage", Storage{Storage: StorageLow, Guest: 8200, Filesystems: []Filesystem{{Path: "/", SizeBytes: 4, UsedBytes: 2, AvailableBytes: 1}}}, `{"storage":"low","guest":8200,"filesystems":[{"path":"/","size_bytes":4,"used_bytes":2,"available_bytes":1}]}`},
		{"problem", Problem{Error: "forbidden", Message: "no"}, `{"error":"forbidden","message":"no"}`},
		{"report, least", Report{Run: "r1", Sequence: 1, Time: at, Step: StepMount, State: StateStarted}, `{"run":"r1","sequence":1,"time":"2026-01-31T12:00:00Z","step":"mount","state":"started"}`},
		{"report, full", fullReport(), `{"run":"Run_1-a","sequence":7,"time":"2026-01-31T12:00:00.5Z","step":"image","state":"failed","result":"changed","message":"pull: denied","hint":"ask the host","class":"verification","exit_code":4,"duration_ms":1500,"version":"1.0.0"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.Marshal(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if rep, ok := tt.in.(Report); ok {
				again, err := ParseReport(got)
				if diff := cmp.Diff(rep, again); diff != "" || err != nil {
					t.Errorf("read back with error %v (-want +got):\n%s", err, diff)
				}
			}
		})
	}
}

func fullReport() Report {
	return Report{
		Run: "Run_1-a", Sequence: 7, Time: time.Date(2026, 1, 31, 12, 0, 0, 5e8, time.UTC), Step: StepImage, State: StateFailed, Result: ResultChanged,
		Message: "pull: denied", Hint: "ask the host", Class: "verification", ExitCode: 4, DurationMS: 1500, Version: "1.0.0",
	}
}

// Every word that the constants declare is read.
func TestParseReportWords(t *testing.T) {
	rep := fullReport()
	try := func(rep Report) {
		t.Helper()
		data, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseReport(data); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	}
	for _, rep.Step = range append(Steps(), StepRun) {
		try(rep)
	}
	for _, rep.State = range []State{StateStarted, StateDone, StateFailed, StateDegraded, StateSkipped} {
		try(rep)
	}
	for _, rep.Result = range []Result{ResultNone, ResultUnchanged, ResultChanged, ResultRepaired} {
		try(rep)
	}
	rep.Message, rep.Sequence = strings.Repeat("é", MaxMessageBytes/2), maxSequence
	try(rep)
}

func TestParseReportRefuses(t *testing.T) {
	encoded, err := json.Marshal(fullReport())
	if err != nil {
		t.Fatal(err)
	}
	valid := string(encoded)
	tests := []struct {
		name, old, with string // what is replaced in a valid report
		want            string
		rule            Rule
	}{
		{name: "run empty", old: `"Run_1-a"`, with: `""`, want: "run: write 1 to 64", rule: RuleReport},
		{name: "run long", old: `"Run_1-a"`, with: `"` + strings.Repeat("a", 65) + `"`, want: "run: write 1 to 64", rule: RuleReport},
		{name: "run with slash", old: `"Run_1-a"`, with: `"../x"`, want: "run: write 1 to 64", rule: RuleReport},
		{name: "sequence zero", old: `"sequence":7`, with: `"sequence":0`, want: "from 1 to 9007199254740991", rule: RuleReport},
		{name: "sequence negative", old: `"sequence":7`, with: `"sequence":-7`, want: "from 1 to", rule: RuleReport},
		{name: "sequence fraction", old: `"sequence":7`, with: `"sequence":7.5`, want: "from 1 to", rule: RuleReport},
		{name: "sequence large", old: `"sequence":7`, with: `"sequence":9007199254740992`, want: "from 1 to", rule: RuleReport},
		{name: "time", old: `"2026-01-31T12:00:00.5Z"`, with: `"yesterday"`, want: "time: write the time as in RFC 3339", rule: RuleReport},
		{name: "step", old: `"image"`, with: `"imagine"`, want: "step: unknown word", rule: RuleReport},
		{name: "state", old: `"failed"`, with: `"FAILED"`, want: "state: unknown word", rule: RuleReport},
		{name: "result", old: `"changed"`, with: `"broken"`, want: "result: unknown word", rule: RuleReport},
		{name: "message long", old: `"pull: denied"`, with: `"` + strings.Repeat("a", MaxMessageBytes+1) + `"`, want: "message: the text is 2049 bytes long", rule: RuleReport},
		{name: "hint long", old: `"ask the host"`, with: `"` + strings.Repeat("a", MaxMessageBytes+1) + `"`, want: "hint: the text is", rule: RuleReport},
		{name: "class long", old: `"verification"`, with: `"` + strings.Repeat("a", 33) + `"`, want: "class: the text is", rule: RuleReport},
		{name: "version long", old: `"1.0.0"`, with: `"` + strings.Repeat("a", 65) + `"`, want: "version: the text is", rule: RuleReport},
		{name: "exit code", old: `"exit_code":4`, with: `"exit_code":256`, want: "exit_code: write a whole number from 0 to 255", rule: RuleReport},
		{name: "duration", old: `"duration_ms":1500`, with: `"duration_ms":-1`, want: "duration_ms: write a whole number", rule: RuleReport},
		{name: "unknown key", old: `"exit_code"`, with: `"exitcode"`, want: `write it as "exit_code"`, rule: jsondoc.RuleKeySpelling},
		{name: "missing", old: `"run":"Run_1-a",`, with: ``, want: "run: the key is missing", rule: jsondoc.RuleMissing},
		{name: "nul", old: `pull: denied`, with: `pull\u0000denied`, want: "NUL", rule: jsondoc.RuleEncoding},
		{name: "trailing data", old: `"1.0.0"}`, with: `"1.0.0"}{}`, want: "more after the end", rule: jsondoc.RuleTrailing},
		{name: "no object", old: valid, with: `[]`, want: "want an object", rule: jsondoc.RuleType},
		{name: "empty", old: valid, with: ``, want: "the document is empty", rule: jsondoc.RuleSize},
		{name: "too large", old: `"message"`, with: `"x_pad":"` + strings.Repeat("a", MaxReportBytes) + `","message"`, want: "at most 16384 are read", rule: jsondoc.RuleSize},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(valid, tt.old, tt.with, 1)
			if text == valid {
				t.Fatal("the row changes nothing")
			}
			rep, err := ParseReport([]byte(text))
			invalid, ok := errors.AsType[*jsondoc.InvalidError](err)
			if !ok || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %+v, error %v, want one with %q", rep, err, tt.want)
			}
			if got := invalid.Findings.List[0].Rule; got != tt.rule {
				t.Errorf("got rule %q, want %q", got, tt.rule)
			}
			if diff := cmp.Diff(Report{}, rep); diff != "" {
				t.Errorf("a refused report gave a value:\n%s", diff)
			}
		})
	}
}

// FuzzParseReport: what is accepted reads back the same after encoding.
func FuzzParseReport(f *testing.F) {
	encoded, err := json.Marshal(fullReport())
	if err != nil {
		f.Fatal(err)
	}
	seeds := []string{string(encoded), `{"run":"r","sequence":1,"time":"2026-01-31T12:00:00Z","step":"mount","state":"started"}`, `{}`, `{"run":1}`}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rep, err := ParseReport(data)
		if err != nil {
			return
		}
		encoded, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		if len(encoded) > MaxReportBytes { // characters such as "<" are longer when they are written
			return
		}
		again, err := ParseReport(encoded)
		if diff := cmp.Diff(rep, again); diff != "" || err != nil {
			t.Fatalf("read back with error %v:\n%s", err, diff)
		}
	})
}

// Only an image reference is taken out of a guest's message.
func TestStillRunning(t *testing.T) {
	for message, want := range map[string]string{
		StillRuns("registry.example:5000/team/app:1", "no: such"): "registry.example:5000/team/app:1",
		StillRuns("registry.example/app:1", ""):                   "registry.example/app:1",
		StillRuns("\x1b[2J", "x"):                                 "",
		StillRuns("a b", "x"):                                     "",
		"still runs registry.example/app:1":                       "",
		"it still runs registry.example/app:1: x":                 "",
		"": "",
	} {
		if got := StillRunning(message); got != want {
			t.Errorf("%q: got %q, want %q", message, got, want)
		}
	}
}
