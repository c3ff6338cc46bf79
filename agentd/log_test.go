package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// Each line of the log is of the format and of a level that was asked for, and a
// failure that a guest reports is a warning with its message, class and hint.
func TestLogFormatAndLevel(t *testing.T) {
	const message, failed = "\x1b[2Jno\nway", "the guest reports a failure"
	for _, c := range []struct {
		format, level string
		isJSON        bool
		hasStarted    bool // the line of a report that is not a failure
		hasFailed     bool
	}{
		{"json", "debug", true, true, true},
		{"json", "info", true, true, true},
		{"auto", "warning", true, false, true},
		{"json", "error", true, false, false},
		{"text", "info", false, true, true},
		{"text", "warn", false, false, true},
	} {
		started := "msg=report "
		if c.isJSON {
			started = `"msg":"report"`
		}
		var b *bed
		t.Run(c.format+" "+c.level, func(t *testing.T) {
			b = startDaemonWith(t, []string{"--log-format", c.format, "--log-level", c.level})
			boot := b.add(t, "8200")
			for i, report := range []string{`"state":"started"`, `"state":"failed","class":"not-ready","exit_code":5,"hint":"start it"`} {
				text, err := json.Marshal(message)
				if err != nil {
					t.Fatal(err)
				}
				body := `{"run":"r1","sequence":` + string(rune('1'+i)) + `,"time":"2026-03-01T12:00:00Z","step":"image","message":` + string(text) + `,` + report + `}`
				if got, answer := b.do(t, client(t, boot), "POST", "/reports", boot.LocalAPIToken.Reveal(), body); got != 204 {
					t.Fatalf("%d %s", got, answer)
				}
			}
		})
		// The daemon has ended: all that it has to say is there.
		text := b.daemon.String()
		if strings.Contains(text, started) != c.hasStarted || strings.Contains(text, failed) != c.hasFailed {
			t.Errorf("%s %s: want a report: %t, a failure: %t, got:\n%s", c.format, c.level, c.hasStarted, c.hasFailed, text)
		}
		if strings.Contains(text, "\x1b") {
			t.Errorf("%s %s: a guest's text acts on the terminal: %q", c.format, c.level, text)
		}
		for line := range strings.Lines(text) {
			assertLogLine(t, line, c.isJSON, failed)
		}
	}
}

func assertLogLine(t *testing.T, line string, isJSON bool, failed string) {
	t.Helper()
	var got struct {
		Level, Msg, Message, Class, Hint string
		Time                             time.Time
	}
	err := json.Unmarshal([]byte(line), &got)
	if (err == nil) != isJSON {
		t.Errorf("JSON: %t, want %t: %q: %v", err == nil, isJSON, line, err)
	}
	if !isJSON {
		return
	}
	if got.Level == "" || got.Msg == "" || got.Time.IsZero() {
		t.Errorf("no level, msg or time in %q", line)
	}
	if got.Msg == failed && (got.Level != "warning" || got.Class != "not-ready" || got.Hint != "start it" || !strings.Contains(got.Message, "way") || strings.Contains(got.Message, "\n")) {
		t.Errorf("want a warning with message, class and hint in one line, got %q", line)
	}
}
