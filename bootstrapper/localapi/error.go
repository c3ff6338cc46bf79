package localapi

import (
	"errors"
	"time"

	"github.com/felhom/felhom-golden/internal/localapi"
)

// Class is what an [Error] means to the caller.
type Class string

// The classes.
const (
	ClassOtherHost   Class = "other-host"  // a server that is not the pinned host answers; it got no request and no token
	ClassNoToken     Class = "no-token"    // the host does not know the token; another bootstrap.json is needed
	ClassOtherGuest  Class = "other-guest" // the token has no right to what was asked for
	ClassRefused     Class = "refused"     // this request, or these options, are never accepted
	ClassLater       Class = "later"       // try again after RetryAfter
	ClassFailed      Class = "failed"      // the host could not answer, or not in the form of the local API
	ClassUnreachable Class = "unreachable" // the network or the host is down; try again
	ClassCanceled    Class = "canceled"    // the context was cancelled
)

// Error is the error of each call. Its text never holds the token.
type Error struct {
	Class      Class
	Status     int           // HTTP status; 0 if there was no answer
	RetryAfter time.Duration // with ClassLater, 0 if the host named none
	err        error
}

// Error returns what is wrong.
func (e *Error) Error() string { return "local API: " + e.err.Error() }

// Unwrap returns the cause, of this module or of package net.
func (e *Error) Unwrap() error { return e.err }

// wrap gives an error of the inner client its class. Both have the same names of
// classes.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	out := &Error{Class: Class(localapi.ClassOf(err).String()), err: err}
	if status, ok := errors.AsType[*localapi.StatusError](err); ok {
		out.Status, out.RetryAfter = status.Code, status.RetryAfter
	}
	return out
}
