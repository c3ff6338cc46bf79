// Package fault says what kind of failure an error is and what the user can do
// about it. The code that makes or first recognises an error gives it its kind
// and hint with [Wrap], [WrapHint] or [Errorf]; callers read them with [Of] and
// [HintOf]. It has no exit codes: package exit has the table from kinds to
// codes, for the programs only.
package fault

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/go-multierror"
)

// Kind is the kind of a failure. It decides the exit code of a program, the
// class in reports and results, and whether a later try can succeed.
type Kind int

// The kinds. The zero Kind belongs to a nil error.
const (
	None        Kind = iota
	Failed           // no other kind fits
	Misuse           // wrong flags, arguments or options
	Invalid          // the input is invalid: a file, an archive, a value in them
	NotFound         // the named file, guest or object does not exist
	Exists           // the object already exists, or conflicts with another one
	Mismatch         // a digest, pin, token, credential or signature did not match
	NotReady         // the engine, the network, the host or the workload is not ready
	Busy             // another process holds the object
	Interrupted      // SIGINT or SIGTERM ended the work
)

// kinds holds the name of each Kind and its class, which is part of the
// contract with units, scripts and reports (docs/exit-codes.md).
var kinds = [...]struct{ name, class string }{
	None:        {"none", "ok"},
	Failed:      {"failed", "failed"},
	Misuse:      {"misuse", "misuse"},
	Invalid:     {"invalid", "refused"},
	NotFound:    {"not found", "refused"},
	Exists:      {"exists", "refused"},
	Mismatch:    {"mismatch", "verification"},
	NotReady:    {"not ready", "not-ready"},
	Busy:        {"busy", "not-ready"},
	Interrupted: {"interrupted", "interrupted"},
}

// String returns the kind's name for people.
func (k Kind) String() string { return k.known().name }

// Class returns the kind's class as reports and result files name it.
func (k Kind) Class() string { return k.known().class }

func (k Kind) known() struct{ name, class string } {
	if k < 0 || int(k) >= len(kinds) {
		return kinds[Failed]
	}
	return kinds[k]
}

// Error is an error with its kind and, if one is known, a hint.
type Error struct {
	Kind Kind
	Hint string // what the user can do: lines without a trailing newline; may be empty
	Err  error
}

// Error returns the text of the cause; the hint is not part of it.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Wrap gives err a kind. A nil err stays nil.
func Wrap(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Err: err}
}

// WrapHint gives err a kind and a hint. A nil err stays nil.
func WrapHint(kind Kind, err error, hint string) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: kind, Hint: hint, Err: err}
}

// Errorf is Wrap(kind, fmt.Errorf(format, args...)).
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Of returns the kind of err. The outermost [Error] in its chain decides;
// without one, context.Canceled is Interrupted, context.DeadlineExceeded is
// NotReady and everything else is Failed. A nil err gives None.
func Of(err error) Kind {
	if err == nil {
		return None
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.Is(err, context.DeadlineExceeded):
		return NotReady
	}
	return Failed
}

// HintOf returns the first hint in the chain of err, or "" without one.
func HintOf(err error) string {
	for err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		if _, isAll := e.Err.(*multierror.Error); isAll { //nolint:errorlint // that of All itself, and no other below it
			return "" // the hints are in the text of All
		}
		err = e.Err
	}
	return ""
}
