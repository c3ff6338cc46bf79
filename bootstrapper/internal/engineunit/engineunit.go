// Package engineunit reads how the engine's unit failed, with the last lines
// that the engine wrote. Call [Unit.State]. It starts no program: a unit of
// systemd writes the files that it reads.
package engineunit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Name is the unit that a guest's engine runs in.
const Name = "docker.service"

// LogFile has the last lines of an engine that failed: felhom-engine-failed.service
// writes it, and the next start of the engine's unit removes it.
const LogFile = "/run/felhom-engine-failed.log"

// StatusFile has the unit's result and the exit code and status of its process, as
// systemd names them: "exit-code exited 1". It is written with LogFile.
const StatusFile = "/run/felhom-engine-failed.status"

// The limits of what is read and shown.
const (
	maxLog  = 64 << 10
	maxWord = 32 // of StatusFile
	maxLine = 500
)

// State is the known state of the unit.
type State struct {
	Failed bool   // it has failed, and systemd does not restart it
	Text   string // the state in one line, with the engine's last message if it failed
	// Quoted reports whether Text has a message of the engine itself.
	Quoted bool
}

// Unit is the engine's unit of this guest.
type Unit struct {
	Log    string // path of LogFile
	Status string // path of StatusFile; "" if it is not known
}

// State returns the zero State while the unit has not failed.
func (u Unit) State(context.Context) (State, error) {
	if _, err := os.Lstat(u.Log); errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	data, err := regular.Read(u.Log, maxLog)
	if err != nil {
		return State{}, fmt.Errorf("read the last lines of %s: %w", Name, err)
	}
	s := State{Failed: true, Text: Name + " has failed" + u.how()}
	if line := pick(string(data)); line != "" {
		s.Text, s.Quoted = s.Text+": "+line, true
	}
	return s, nil
}

// how returns the unit's result and how its process ended, in parentheses; "" if
// they are not known: systemd before 251 does not pass them on.
func (u Unit) how() string {
	if u.Status == "" {
		return ""
	}
	data, err := regular.Read(u.Status, maxLog)
	if err != nil {
		return ""
	}
	words := strings.Fields(string(data))
	if len(words) == 0 || len(words) > 3 || slices.ContainsFunc(words, func(w string) bool { return !isWord(w) }) {
		return ""
	}
	text := words[0]
	if len(words) == 3 {
		text += ", " + words[1] + " with " + words[2]
	}
	return " (" + text + ")"
}

// isWord reports whether w is a word or number as systemd writes them.
func isWord(w string) bool {
	return len(w) <= maxWord && !strings.ContainsFunc(w, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '+'
	})
}

// pick returns the last line that is more than a note. For a crash that is the
// line that names it: only addresses follow.
func pick(log string) string {
	last, note := "", ""
	for line := range strings.Lines(log) {
		line = termtext.Line(line, maxLine)
		switch {
		case line == "":
		case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "fatal error: "):
			return line
		case strings.Contains(line, "level=info"), strings.Contains(line, "level=debug"), strings.Contains(line, "level=warning"):
			note = line
		default:
			last = line
		}
	}
	if last == "" {
		return note
	}
	return last
}
