// Package exit owns the exit codes of the three programs: the classes of
// docs/exit-codes.md, the one mapping from an error to its class, and the one
// form in which an error is printed. It does not decide what an error means;
// whoever makes or first recognises an error gives it its class with [With].
package exit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Code is a process exit status. The table is part of the contract with units
// and scripts (docs/exit-codes.md).
type Code int

// The exit codes, in the order of docs/exit-codes.md.
const (
	OK           Code = 0   // done
	Failed       Code = 1   // failed, no better class
	Misuse       Code = 2   // flags or arguments
	Refused      Code = 3   // input refused; findings were printed
	Verification Code = 4   // digest, pin, token or signature did not match
	NotReady     Code = 5   // engine, network, lock or workload not ready; a later try may succeed
	Interrupted  Code = 130 // SIGINT or SIGTERM
)

// String returns the class name, as it stands in result files and reports.
func (c Code) String() string {
	switch c {
	case OK:
		return "ok"
	case Misuse:
		return "misuse"
	case Refused:
		return "refused"
	case Verification:
		return "verification"
	case NotReady:
		return "not-ready"
	case Interrupted:
		return "interrupted"
	}
	return "failed"
}

// Error is an error with its class and, where there is one, what the user can
// do about it.
type Error struct {
	Code Code
	Hint string // one or more lines, no trailing newline; may be empty
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the classified error.
func (e *Error) Unwrap() error { return e.Err }

// With gives err a class. A nil err stays nil.
func With(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Err: err}
}

// WithHint gives err a class and a hint. A nil err stays nil.
func WithHint(code Code, err error, hint string) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, Hint: hint, Err: err}
}

// Errorf is With(code, fmt.Errorf(format, args...)).
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Of returns the class of err: the outermost [Error] in its chain decides,
// then context.Canceled means interrupted and context.DeadlineExceeded not
// ready; anything else is Failed, and nil is OK.
func Of(err error) Code {
	if err == nil {
		return OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Interrupted
	case errors.Is(err, context.DeadlineExceeded):
		return NotReady
	}
	return Failed
}

// HintOf returns the first hint in the chain of err, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// Print writes err in the one form all programs use,
//
//	program: message
//	program: hint: what to do
//
// each line of message and hint with its prefix, and returns the class.
// A nil err prints nothing.
func Print(w io.Writer, program string, err error) Code {
	if err == nil {
		return OK
	}
	printLines(w, program+": ", err.Error())
	if hint := HintOf(err); hint != "" {
		printLines(w, program+": hint: ", hint)
	}
	return Of(err)
}

func printLines(w io.Writer, prefix, text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		_, _ = fmt.Fprintf(w, "%s%s\n", prefix, line) // nowhere left to report to
	}
}
