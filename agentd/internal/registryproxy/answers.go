package registryproxy

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// refusal is an answer that is not a success, in the form that engines show to
// their users. Its texts are constant or come from the configuration, never
// from the upstream.
type refusal struct {
	status     int
	code       string // of the distribution specification
	message    string
	retryAfter string // "": no such header
}

var (
	refusePath      = refusal{status: http.StatusNotFound, code: "NAME_UNKNOWN", message: "there is no such path in this read-only registry"}
	refuseMethod    = refusal{status: http.StatusMethodNotAllowed, code: "UNSUPPORTED", message: "this registry is read-only"}
	refuseBody      = refusal{status: http.StatusBadRequest, code: "UNSUPPORTED", message: "a request to this read-only registry has no body"}
	refuseRate      = refusal{status: http.StatusTooManyRequests, code: "TOOMANYREQUESTS", message: "too many requests of this guest", retryAfter: "1"}
	refuseSlots     = refusal{status: http.StatusTooManyRequests, code: "TOOMANYREQUESTS", message: "too many transfers of this guest are under way", retryAfter: "5"}
	refuseEnding    = refusal{status: http.StatusServiceUnavailable, code: "UNKNOWN", message: "felhom-agentd on the host is ending or starts again", retryAfter: "5"}
	refuseBusy      = refusal{status: http.StatusServiceUnavailable, code: "UNKNOWN", message: "the host could not read its records in time", retryAfter: "5"}
	refuseManifest  = refusal{status: http.StatusNotFound, code: "MANIFEST_UNKNOWN", message: "the registry does not have this manifest"}
	refuseBlob      = refusal{status: http.StatusNotFound, code: "BLOB_UNKNOWN", message: "the registry does not have this blob"}
	refuseRange     = refusal{status: http.StatusRequestedRangeNotSatisfiable, code: "BLOB_UNKNOWN", message: "the range is not within the blob"}
	refuseInternal  = refusal{status: http.StatusInternalServerError, code: "UNKNOWN", message: "the host could not handle this request; its log says why"}
	refuseEmptyNote = "this guest may not pull it: the host allows the image of its controller and what agentd.yaml lists in repositories"
)

func refuseAccess(name string) refusal {
	return refusal{status: http.StatusForbidden, code: "DENIED", message: name + ": " + refuseEmptyNote}
}

// write sends r. An engine shows code and message.
func (r refusal) write(w http.ResponseWriter, withBody bool) {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(struct {
		Errors []entry `json:"errors"`
	}{[]entry{{r.code, r.message}}})
	if err != nil { // two strings
		body = []byte(`{"errors":[]}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	if r.retryAfter != "" {
		h.Set("Retry-After", r.retryAfter)
	}
	if r.status == http.StatusMethodNotAllowed {
		h.Set("Allow", "GET, HEAD")
	}
	w.WriteHeader(r.status)
	if withBody {
		_, _ = w.Write(append(body, '\n')) // the guest may be gone
	}
}
