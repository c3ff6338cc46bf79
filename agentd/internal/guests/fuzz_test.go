package guests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func openedStore(f *testing.F) (s *Store, records, reports string) {
	f.Helper()
	dir := f.TempDir()
	records, reports = filepath.Join(dir, "guests"), filepath.Join(dir, "state", ReportsDir)
	s, err := Open(records, filepath.Join(dir, "state"), time.Now)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	return s, records, reports
}

// FuzzRecord: a record that is read is written so that it is read as the same.
func FuzzRecord(f *testing.F) {
	s, dir, _ := openedStore(f)
	for _, text := range []string{
		`{"version":1,"vmid":8200,"tokens":[{"sha256":"` + strings.Repeat("a", 64) + `","minted":"2026-01-02T03:04:05Z"}],"image":"registry.example/app:v1"}`,
		`{"version":1,"vmid":8200}`, `{"version":2,"vmid":8200}`, `{"version":1,"vmid":8201}`, `[]`, `{"version":1,"vmid":8200,"tokens":[{"sha256":"x"}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, "8200.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := s.Get(8200)
		if err != nil {
			if diff := cmp.Diff(Record{}, r); diff != "" {
				t.Errorf("a refused record gives a value:\n%s", diff)
			}
			return
		}
		if err := s.write(8200, r); err != nil {
			t.Skip(err) // larger than before
		}
		again, err := s.Get(8200)
		a, errA := json.Marshal(r)
		b, errB := json.Marshal(again)
		if err != nil || errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s is written and read as %s, %v", a, b, err)
		}
	})
}

// FuzzReports: what the daemon's own files say of a guest, after whatever happened
// to them, does not end it, and is bounded.
func FuzzReports(f *testing.F) {
	s, _, dir := openedStore(f)
	line := `{"number":1,"vmid":8200,"received":"2026-01-02T03:04:05Z","report":{"run":"r","sequence":1,"time":"2026-01-02T03:04:05Z","step":"mount","state":"done"}}` + "\n"
	file := `{"version":1,"vmid":8200,"run":"r","sequence":2,"received":"2026-01-02T03:04:05Z","steps":[{"received":"2026-01-02T03:04:05Z","report":{"run":"r","sequence":1,"step":"mount","state":"failed"}}]}`
	f.Add([]byte(line+line), []byte(file))
	f.Add([]byte(line+"x\n"+line[:20]), []byte(`{"version":1,"vmid":8200}`))
	f.Add([]byte("\n\n"), []byte("{"))
	f.Fuzz(func(t *testing.T, log, file []byte) {
		lines, size := parseLog(log)
		if size < 0 || size > int64(len(log)) || len(lines) > len(log)/2 {
			t.Errorf("%d bytes, %d lines of %d", size, len(lines), len(log))
		}
		if again, rest := parseLog(log[:size]); rest != size || len(again) != len(lines) {
			t.Errorf("complete lines are read as others: %d of %d bytes, %d of %d lines", rest, size, len(again), len(lines))
		}
		if err := os.WriteFile(filepath.Join(dir, "8200.json"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := s.readReports(8200)
		if err != nil && len(g.Steps) > 0 {
			t.Errorf("a refused file has steps: %+v", g)
		}
		for _, line := range lines {
			before := len(g.Steps)
			g.apply(line)
			if len(g.Steps) > max(before, maxSteps) {
				t.Errorf("%d steps", len(g.Steps))
			}
		}
	})
}
