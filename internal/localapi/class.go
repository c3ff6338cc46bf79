package localapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/felhom/felhom-golden/internal/pin"
)

// Class is what an error of a [Client] means to its caller.
type Class int

// The classes. The zero Class belongs to a nil error.
const (
	None        Class = iota
	OtherHost         // what answers is not the pinned host; nothing was sent to it
	NoToken           // the host does not know the token: another bootstrap.json is needed
	OtherGuest        // the token is valid, and not for what was asked for
	Refused           // the host will never accept this request
	Later             // the host asks for a later try
	Failed            // the host had a fault of its own, or answered in another form
	Unreachable       // no answer: the network, or a host that is down
	Canceled          // the caller's context was cancelled
)

// String returns the name of the class.
func (c Class) String() string {
	names := [...]string{"none", "other-host", "no-token", "other-guest", "refused", "later", "failed", "unreachable", "canceled"}
	if c < 0 || int(c) >= len(names) {
		return "failed"
	}
	return names[c]
}

// ClassOf returns the class of an error of a [Client].
func ClassOf(err error) Class {
	if err == nil {
		return None
	}
	_, isMismatch := errors.AsType[*pin.MismatchError](err)
	switch {
	case isMismatch, errors.Is(err, pin.ErrNoPins), errors.Is(err, pin.ErrNoCertificate):
		return OtherHost
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, ErrAnswer), errors.Is(err, ErrNoEndpoint):
		return Failed
	}
	status, ok := errors.AsType[*StatusError](err)
	if !ok {
		return Unreachable
	}
	switch status.Code {
	case http.StatusUnauthorized:
		return NoToken
	case http.StatusForbidden:
		return OtherGuest
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return Later
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusExpectationFailed, http.StatusUnprocessableEntity, http.StatusRequestHeaderFieldsTooLarge:
		return Refused
	}
	return Failed
}
