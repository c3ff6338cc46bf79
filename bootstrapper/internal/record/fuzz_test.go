package record

import (
	"bytes"
	"testing"
)

// FuzzDecode: what is read is written, by the version of now, so that it is read as
// the same.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"version":2,"run":"r","program":"v1","started":"2026-01-02T03:04:05Z","finished":"2026-01-02T03:04:09Z","exit_code":5,"class":"not-ready","result":"failed","try":2,"next_try":"2026-01-02T03:05:05Z","boot":{"run_ms":812.5},"steps":[{"step":"mount","result":"unchanged","start_ms":0,"duration_ms":1.5}]}`,
		`{"version":1,"steps":[{"step":"channel","duration_ms":5},{"step":"engine","duration_ms":9}]}`, `{"version":3}`, `{"version":1,"steps":[{"step":"a","duration_ms":1e308},{"step":"engine","duration_ms":1e308},{"step":"b","duration_ms":1e308},{"step":"c"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		r.Version = Version
		once, err := Encode(r)
		if err != nil {
			t.Fatalf("%q cannot be written: %v", data, err)
		}
		again, err := Decode(once)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", data, once, err)
		}
		if twice, err := Encode(again); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%q is written as %q, then as %q, %v", data, once, twice, err)
		}
	})
}
