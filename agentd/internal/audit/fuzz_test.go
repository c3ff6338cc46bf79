package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzVerify: a log without findings is a chain of lines from the first to the head,
// whatever the bytes are; and one with findings still takes a line.
func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	logFile, headName := filepath.Join(dir, currentFile), filepath.Join(dir, headFile)
	now := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	log, err := Open(dir, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = log.Close() })
	for range 3 {
		if err := log.Add(f.Context(), Event{Kind: TokenMinted, Guest: 8200, By: "guest add"}, Event{Kind: Pulled, Pull: &Pull{Repository: "r/a", Bytes: 1}}); err != nil {
			f.Fatal(err)
		}
		lines, err := os.ReadFile(logFile)
		if err != nil {
			f.Fatal(err)
		}
		head, err := os.ReadFile(headName)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(lines, head)
		f.Add(lines[:len(lines)-7], head)
		f.Add(append(bytes.Clone(lines), "{\"number\":99}\n"...), head)
	}
	f.Add([]byte("\n\n"), []byte(`{"number":18446744073709551615,"sha256":"x"}`))
	f.Fuzz(func(t *testing.T, lines, head []byte) {
		if err := os.WriteFile(logFile, lines, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(headName, head, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := Verify(t.Context(), dir)
		if err != nil {
			return
		}
		if len(report.Findings) > maxFindings || report.Lines > bytes.Count(lines, []byte("\n")) {
			t.Errorf("%d findings, %d lines", len(report.Findings), report.Lines)
		}
		if len(report.Findings) == 0 {
			checkChain(t, lines, report)
		}
		if report.Last > 1<<62 {
			return // no log gets there
		}
		if err := log.Add(t.Context(), Event{Kind: Started}); err != nil {
			t.Errorf("a damaged log takes no line: %v", err)
		}
	})
}

func checkChain(t *testing.T, lines []byte, report Report) {
	t.Helper()
	var before []byte
	for n, text := range bytes.Split(bytes.TrimSuffix(lines, []byte("\n")), []byte("\n")) {
		if len(lines) == 0 {
			break
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			t.Errorf("line %q passes: %v", text, err)
		}
		if n > 0 && l.Before != sum(before) || l.Number != report.First+uint64(n) {
			t.Errorf("line %d passes and does not follow %q: %q", n+1, before, text)
		}
		before = text
	}
	if report.Lines > 0 && report.SHA256 != sum(before) {
		t.Errorf("the last line is %q, not the one of %s", before, report.SHA256)
	}
}
