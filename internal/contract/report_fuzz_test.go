package contract

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzReport: what is accepted can be written, and is read back as it was.
func FuzzReport(f *testing.F) {
	for _, at := range []string{"2026-03-01T12:00:00Z", "2026-03-01T12:00:00+24:00", "0000-01-01T00:00:00+23:59", "9999-12-31T23:59:60-23:59"} {
		f.Add([]byte(`{"run":"a","sequence":1,"time":"` + at + `","step":"image","state":"done","message":"<\u2028\u202e\ud83d\ude00"}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rep, err := ParseReport(data)
		if err != nil {
			return
		}
		written, err := json.Marshal(rep)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		var kept Report
		if err := json.Unmarshal(written, &kept); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if diff := cmp.Diff(rep, kept); diff != "" {
			t.Errorf("kept (-accepted +kept):\n%s", diff)
		}
		if len(written) > MaxReportBytes { // characters such as "<" are longer when they are written
			return
		}
		again, err := ParseReport(written)
		if diff := cmp.Diff(rep, again); diff != "" || err != nil {
			t.Errorf("%v (-accepted +again):\n%s", err, diff)
		}
	})
}
