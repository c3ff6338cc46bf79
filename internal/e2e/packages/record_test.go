//go:build packages

package packages_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// recordVariable names the file that TestQuickStart writes its session to, as an asciicast; "make recording" sets it.
const recordVariable = "FELHOM_RECORD"

// stamped is a line of a terminal and when it came, in seconds.
type stamped struct {
	at   float64
	text string
}

// stamp is a shell loop that puts the time before each line.
const stamp = `while IFS= read -r line; do printf '%s %s\n' "$EPOCHREALTIME" "$line"; done`

// parseStamped reads what stamp has written.
func parseStamped(t *testing.T, out string) (lines []stamped) {
	t.Helper()
	for line := range strings.Lines(out) {
		at, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		seconds, err := strconv.ParseFloat(at, 64)
		if err != nil {
			t.Fatalf("line without a time: %q", line)
		}
		lines = append(lines, stamped{seconds, text})
	}
	return lines
}

// unseen reports whether a reader's terminal does not show the line: the start of the script, and the progress that curl shows where
// its output is not a terminal.
func unseen(line string) bool {
	return line == "" || strings.Contains(preamble, line+"\n") || strings.Contains(line, "--:--:--") || strings.Contains(line, "Dload  Upload") ||
		strings.Contains(line, "% Total ")
}

// prompted puts prompts before what was typed, which a shell repeats as it reads it, and leaves out what a reader does not see.
func prompted(lines []stamped, blocks []string) (shown []stamped) {
	typed := strings.Split(strings.Join(blocks, ""), "\n")
	end := "" // of a here-document
	for _, l := range lines {
		if unseen(l.text) {
			continue
		}
		if len(typed) > 0 && l.text == typed[0] {
			typed = typed[1:]
			prompt := "$ "
			switch {
			case end != "":
				prompt = "> "
				if l.text == end {
					end = ""
				}
			case strings.Contains(l.text, "<<"):
				end = strings.Trim(l.text[strings.Index(l.text, "<<")+2:], "'")
			}
			l.text = prompt + l.text
		}
		shown = append(shown, l)
	}
	return shown
}

func TestPrompted(t *testing.T) {
	lines := []stamped{{1, "cat > x <<'END'"}, {1, "a: b"}, {1, "END"}, {2, ""}, {2, "set -euo pipefail"}, {2, "  % Total    % Received"}, {2, "run"}, {3, "ran"}, {3, "run"}}
	got := prompted(lines, []string{"cat > x <<'END'\na: b\nEND\n", "run\n"})
	var texts []string
	for _, l := range got {
		texts = append(texts, l.text)
	}
	if all := strings.Join(texts, "|"); all != "$ cat > x <<'END'|> a: b|> END|$ run|ran|run" {
		t.Errorf("got %s", all)
	}
}

// record writes the session as an asciicast whose times begin at 0.
func record(t *testing.T, lines []stamped) {
	t.Helper()
	file := os.Getenv(recordVariable)
	if file == "" || len(lines) == 0 {
		return
	}
	var b bytes.Buffer
	write := func(value any) {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(data, '\n'))
	}
	write(map[string]any{"version": 2, "width": 110, "height": 26, "title": "The quick start, on Debian 13"})
	for _, l := range lines {
		text := strings.Map(func(r rune) rune {
			if unicode.IsControl(r) {
				return ' '
			}
			return r
		}, l.text)
		at, err := strconv.ParseFloat(strconv.FormatFloat(l.at-lines[0].at, 'f', 2, 64), 64)
		if err != nil {
			t.Fatal(err)
		}
		write([]any{at, "o", text + "\r\n"})
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
