package api

import (
	"net/netip"

	"github.com/felhom/felhom-golden/internal/contract"
)

// The bodies of refusals. They are constant: nothing of the request, of another
// guest, or of this program's version comes back.
var (
	problemHost         = contract.Problem{Error: "wrong-host", Message: "the Host header names none of this agent's addresses"}
	problemRelayed      = contract.Problem{Error: "relayed", Message: "requests of browsers and proxies are not served"}
	problemUnauthorized = contract.Problem{Error: "unauthorized", Message: "a guest's token is required, and this is none"}
	problemForbidden    = contract.Problem{Error: "forbidden", Message: "a token reaches its own guest only"}
	problemFailures     = contract.Problem{Error: "too-many-failures", Message: "too many wrong tokens from this address; wait a second"}
	problemReports      = contract.Problem{Error: "too-many-reports", Message: "too many reports of this guest; wait"}
	problemMalformed    = contract.Problem{Error: "bad-request", Message: "the request is not a valid HTTP/1.1 request"}
	problemHeader       = contract.Problem{Error: "header-too-large", Message: "request line and header are larger than 8 KiB"}
	problemExpectation  = contract.Problem{Error: "expectation-failed", Message: "an Expect header may say 100-continue only"}
	problemEncoding     = contract.Problem{Error: "not-implemented", Message: "this transfer encoding is not served"}
	problemVersion      = contract.Problem{Error: "http-version", Message: "only HTTP/1.1 is served"}
	problemPlainHTTP    = contract.Problem{Error: "plain-http", Message: "this port serves HTTPS only"}
	problemNotFound     = contract.Problem{Error: "not-found", Message: "there is no such path"}
	problemMethod       = contract.Problem{Error: "method-not-allowed", Message: "the Allow header names the methods of this path"}
	problemContentType  = contract.Problem{Error: "unsupported-media-type", Message: "the body must be application/json"}
	problemTooLarge     = contract.Problem{Error: "too-large", Message: "the body is larger than this path takes"}
	problemBody         = contract.Problem{Error: "incomplete-body", Message: "the body could not be read to its end"}
	problemUnavailable  = contract.Problem{Error: "unavailable", Message: "the host cannot answer this now; try again"}
	problemInternal     = contract.Problem{Error: "internal", Message: "the agent made a mistake; its log tells which"}
)

// Event is something that changed or was refused. Reads that were served are
// no event. It never holds a token or a header.
type Event struct {
	Kind   Kind
	VMID   int              // 0: not known to be a guest's
	Source netip.Addr       // where it came from; an IPv6 one is its /64
	Digest string           // first 8 hex digits of the SHA-256 of the token in question
	Report *contract.Report // of ReportReceived
	Err    error
}

// Kind is what happened.
type Kind int

// The kinds of events.
const (
	TokenFirstUsed   Kind = iota + 1 // the token before it, if any, is dead now
	TokenRefused                     // at most ten, then one a second, of each source
	OtherGuestDenied                 // a guest asked for another's data
	ReportReceived
	StoreFailed // records can not be read or written
	HandlerFailed
)
