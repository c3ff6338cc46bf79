package record

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lib/result.json")
	want := Result{
		Run: "r", Try: 2, NextTry: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), Boot: &Boot{RunMS: 1.5},
		Steps: []Step{{Step: "mount", Result: "unchanged", StartMS: 0.1, DurationMS: 2}},
	}
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	want.Version = Version
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestVersions(t *testing.T) {
	for _, test := range []struct {
		name, text string
		starts     []float64
		ok         bool
	}{
		{"version 1 has its starts worked out", `{"version":1,"steps":[{"step":"mount","duration_ms":1},{"step":"channel","duration_ms":5},
			{"step":"engine","duration_ms":9},{"step":"image","duration_ms":2},{"step":"settings","duration_ms":1}]}`, []float64{0, 1, 1, 10, 12}, true},
		{"version 2", `{"version":2,"steps":[{"step":"mount","start_ms":3,"duration_ms":1}]}`, []float64{3}, true},
		{"a later one", `{"version":3}`, nil, false},
		{"none", `{}`, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.json")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Read(path)
			if (err == nil) != test.ok {
				t.Fatalf("error %v", err)
			}
			var got []float64
			for _, s := range r.Steps {
				got = append(got, s.StartMS)
			}
			if diff := cmp.Diff(test.starts, got); diff != "" {
				t.Errorf("starts (-want +got):\n%s", diff)
			}
		})
	}
}
