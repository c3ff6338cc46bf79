// Package exit has the exit codes of the three programs: [Of] is the table from
// kinds of failures to codes, and [Print] prints an error in the one form for
// all programs. Only package main of a program and internal/command use it;
// other packages give their errors a kind with package fault.
package exit

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/felhom/felhom-golden/internal/fault"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// Code is a process exit status. The table is part of the contract with units
// and scripts (docs/exit-codes.md).
type Code int

// The exit codes, in the order of docs/exit-codes.md.
const (
	OK           Code = 0   // done
	Failed       Code = 1   // failed, no better class
	Misuse       Code = 2   // wrong flags or arguments
	Refused      Code = 3   // the input is invalid or does not exist; findings were printed
	Verification Code = 4   // a digest, pin, token or signature did not match
	NotReady     Code = 5   // engine, network, lock or workload not ready; a later try may succeed
	Interrupted  Code = 130 // SIGINT or SIGTERM
)

// codes is the one table from the kind of a failure to the exit code.
var codes = map[fault.Kind]Code{
	fault.None:        OK,
	fault.Failed:      Failed,
	fault.Misuse:      Misuse,
	fault.Invalid:     Refused,
	fault.NotFound:    Refused,
	fault.Exists:      Refused,
	fault.Mismatch:    Verification,
	fault.NotReady:    NotReady,
	fault.Busy:        NotReady,
	fault.Interrupted: Interrupted,
}

// statusError is an error whose exit code does not follow from a kind: the
// status of a script, or that of a recorded run.
type statusError struct {
	code Code
	err  error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// WithCode makes code the exit code for err, whatever its kind. It is for
// programs that pass on the status of something else. A nil err stays nil.
func WithCode(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &statusError{code: code, err: err}
}

// Of returns the exit code for err: the one of [WithCode] if it has one, else
// the code for its kind; OK for nil.
func Of(err error) Code {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.code
	}
	return OfKind(fault.Of(err))
}

// OfKind returns the exit code for a kind of failure.
func OfKind(kind fault.Kind) Code {
	if code, ok := codes[kind]; ok {
		return code
	}
	return Failed
}

// Print writes err in the one form all programs use,
//
//	program: message
//	program: hint: what to do
//
// each line of message and hint with its prefix, and returns the exit code.
// A nil err prints nothing.
func Print(w io.Writer, program string, err error) Code {
	if err == nil {
		return OK
	}
	printLines(w, program+": ", err.Error())
	if hint := fault.HintOf(err); hint != "" {
		printLines(w, program+": hint: ", hint)
	}
	return Of(err)
}

func printLines(w io.Writer, prefix, text string) {
	for line := range strings.SplitSeq(strings.TrimRight(termtext.Lines(text), "\n"), "\n") {
		_, _ = fmt.Fprintf(w, "%s%s\n", prefix, line) // there is no other place to report it
	}
}
