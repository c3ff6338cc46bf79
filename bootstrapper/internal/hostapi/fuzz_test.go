package hostapi

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzBacklog: what is read of the reports that an earlier run left is written so
// that it is read as the same, and is bounded.
func FuzzBacklog(f *testing.F) {
	file := filepath.Join(f.TempDir(), "undelivered-reports.json")
	for _, s := range []string{
		`{"version":1,"reports":[{"run":"r","sequence":1,"time":"2026-01-31T12:00:00Z","step":"mount","state":"started"},{"run":1}]}`, `{"version":1,"reports":[]}`, `{"version":2}`, `{`, `{"version":1,"reports":[null]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		reports, exists := readBacklog(file)
		if !exists || len(reports) > maxBacklog {
			t.Errorf("%q has %d reports, exists %v", data, len(reports), exists)
		}
		if err := writeBacklog(file, reports); err != nil {
			t.Fatal(err)
		}
		again, exists := readBacklog(file)
		if d := cmp.Diff(reports, again); d != "" || exists != (len(reports) > 0) {
			t.Errorf("%q is written and read, exists %v:\n%s", data, exists, d)
		}
	})
}
