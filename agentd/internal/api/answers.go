package api

import (
	"net/http"
	"net/netip"

	"github.com/felhom/felhom-golden/internal/contract"
)

// refusal is an answer that is not a success.
type refusal struct {
	status int
	contract.Problem
}

// A constant body contains nothing of the request, of another guest, or of this
// program's version.
func refuses(status int, name, message string) refusal {
	return refusal{status, contract.Problem{Error: name, Message: message}}
}

// The refusals. docs/local-api.md and docs/openapi.yaml list them; tests compare
// the lists.
var (
	refusedMalformed   = refuses(http.StatusBadRequest, "bad-request", "the request is not a valid HTTP/1.1 request")
	refusedPlainHTTP   = refuses(http.StatusBadRequest, "plain-http", "this port serves HTTPS only")
	refusedRelayed     = refuses(http.StatusBadRequest, "relayed", "requests of browsers and proxies are not served")
	refusedBody        = refuses(http.StatusBadRequest, "incomplete-body", "the body could not be read to its end")
	refusedToken       = refuses(http.StatusUnauthorized, "unauthorized", "a guest's token is required, and this is not a valid one")
	refusedOtherGuest  = refuses(http.StatusForbidden, "forbidden", "a token reaches its own guest only")
	refusedOrigin      = refuses(http.StatusForbidden, "wrong-origin", "this token is not accepted from where the request came; the log of felhom-agentd on the host says why")
	refusedPath        = refuses(http.StatusNotFound, "not-found", "there is no such path")
	refusedMethod      = refuses(http.StatusMethodNotAllowed, "method-not-allowed", "the Allow header names the methods of this path")
	refusedTooLarge    = refuses(http.StatusRequestEntityTooLarge, "too-large", "the body exceeds the limit of this path")
	refusedContentType = refuses(http.StatusUnsupportedMediaType, "unsupported-media-type", "the body must be application/json")
	refusedExpectation = refuses(http.StatusExpectationFailed, "expectation-failed", "an Expect header must be 100-continue")
	refusedHost        = refuses(http.StatusMisdirectedRequest, "wrong-host", "the Host header names none of this agent's addresses")
	refusedReport      = refuses(http.StatusUnprocessableEntity, "invalid-report", "") // its message is the finding
	refusedFailures    = refuses(http.StatusTooManyRequests, "too-many-failures", "too many wrong tokens from this address; wait a second")
	refusedReports     = refuses(http.StatusTooManyRequests, "too-many-reports", "too many reports of this guest; wait")
	refusedHeader      = refuses(http.StatusRequestHeaderFieldsTooLarge, "header-too-large", "request line and header exceed 8 KiB")
	refusedInternal    = refuses(http.StatusInternalServerError, "internal", "the agent made a mistake; its log has the details")
	refusedEncoding    = refuses(http.StatusNotImplemented, "not-implemented", "this transfer encoding is not served")
	refusedUnavailable = refuses(http.StatusServiceUnavailable, "unavailable", "the host cannot answer this now; try again")
	refusedVersion     = refuses(http.StatusHTTPVersionNotSupported, "http-version", "only HTTP/1.1 is served")
)

// refusals are all refusals.
var refusals = []refusal{
	refusedMalformed, refusedPlainHTTP, refusedRelayed, refusedBody, refusedToken, refusedOtherGuest, refusedOrigin, refusedPath, refusedMethod,
	refusedTooLarge, refusedContentType, refusedExpectation, refusedHost, refusedReport, refusedFailures, refusedReports, refusedHeader,
	refusedInternal, refusedEncoding, refusedUnavailable, refusedVersion,
}

// write sends the refusal.
func (r refusal) write(w http.ResponseWriter) {
	noteRefusal(w, r.Error)
	write(w, r.status, r.Problem)
}

// Event is a change or a refused request. A served read is not an event. It
// never contains a token or a header.
type Event struct {
	Kind   Kind
	VMID   int              // 0: not known to be a guest's
	Source netip.Addr       // where it came from; of an IPv6 address its /64
	Digest string           // first 8 hex digits of the SHA-256 of the token in question
	Report *contract.Report // of ReportReceived
	Err    error
}

// Kind is what happened.
type Kind int

// The kinds of events.
const (
	TokenFirstUsed   Kind = iota + 1 // the token before it, if any, is not valid any more
	TokenRefused                     // at most ten, then one a second, of each source
	EndedTokenUsed                   // a token that was revoked or replaced; limited as TokenRefused
	OtherGuestDenied                 // a guest asked for another's data
	ElsewhereSeen                    // a valid token did not come from its guest, and was accepted
	ElsewhereDenied                  // the same, and it was refused
	ReportReceived
	StoreFailed // records cannot be read or written
	HandlerFailed
)
