// Package engineunit reads the last lines that the engine wrote before its unit
// failed for good. Call Unit.State. It starts no program: systemd writes them.
package engineunit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/felhom/felhom-golden/internal/regular"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Name is the unit that a guest's engine runs in.
const Name = "docker.service"

// LogFile has the last lines of an engine that failed: felhom-engine-failed.service
// writes it, and the next start of the engine's unit removes it.
const LogFile = "/run/felhom-engine-failed.log"

// The limits of what is read and shown.
const (
	maxLog  = 64 << 10
	maxLine = 500
)

// State is what is known of the unit.
type State struct {
	Failed bool   // it has failed, and systemd does not start it again
	Text   string // what it is, in one line, with the engine's last words where it failed
	// Quoted reports whether Text has words of the engine itself.
	Quoted bool
}

// Unit is the engine's unit of this guest.
type Unit struct {
	Log string // path of LogFile
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
	s := State{Failed: true, Text: Name + " has failed"}
	if line := pick(string(data)); line != "" {
		s.Text, s.Quoted = s.Text+": "+line, true
	}
	return s, nil
}

// pick returns the last line that is not a mere note. Of a crash it is the one
// that names it, for what follows are addresses.
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
