package localapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/pin"
)

// The classes decide whether a report is dropped, kept or tried again.
func TestClassOfAnswers(t *testing.T) {
	for code, want := range map[int]Class{
		200: None, 204: Failed, 302: Failed, 400: Refused, 401: NoToken, 403: OtherGuest, 404: Refused, 405: Refused, 408: Failed, 413: Refused,
		415: Refused, 417: Refused, 421: Failed, 422: Refused, 429: Later, 431: Refused, 500: Failed, 501: Failed, 503: Later, 505: Failed,
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			if code != http.StatusNoContent {
				_, _ = io.WriteString(w, `{}`)
			}
		})
		_, err := c.Guest(t.Context())
		if got := ClassOf(err); got != want {
			t.Errorf("%d: class %s, want %s (%v)", code, got, want, err)
		}
	}
}

func TestClassOfFailures(t *testing.T) {
	never := serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	never.Timeout = 20 * time.Millisecond
	_, late := never.Guest(t.Context())
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, ended := serve(t, func(http.ResponseWriter, *http.Request) {}).Guest(canceled)
	other := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request arrived") })
	other.Pins = nil
	_, unpinned := other.Guest(t.Context())
	_, nowhere := new(Client).Guest(t.Context())
	for name, c := range map[string]struct {
		err  error
		want Class
	}{
		"late": {late, Unreachable}, "canceled": {ended, Canceled}, "no pins": {unpinned, OtherHost}, "no endpoint": {nowhere, Failed},
		"mismatch": {&pin.MismatchError{}, OtherHost}, "other": {errors.New("x"), Unreachable},
	} {
		if got := ClassOf(c.err); got != c.want {
			t.Errorf("%s: class %s, want %s (%v)", name, got, c.want, c.err)
		}
	}
}

// An answer that was cut at the limit would be read as if it were whole: a number
// at its end as another number.
func TestAnswerBeyondTheLimitIsAnError(t *testing.T) {
	for _, size := range []int{contract.MaxResponseBytes, contract.MaxResponseBytes + 1, 10 * contract.MaxResponseBytes} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			text := `{"guest":8200,"host_id":"h","agent":"1","time":"2026-01-31T12:00:00Z"}`
			_, _ = io.WriteString(w, text+strings.Repeat(" ", size-len(text)))
		})
		_, err := c.Guest(t.Context())
		if isLarge := size > contract.MaxResponseBytes; errors.Is(err, ErrAnswer) != isLarge {
			t.Errorf("%d bytes: error %v", size, err)
		}
	}
}

// A host that repeats what it was shown must not bring the token into a log.
func TestRefusalDoesNotRepeatTheToken(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, `{"error":"`+token+`","message":"got `+r.Header.Get("Authorization")+"\\n\\u001b[31m"+strings.Repeat("x", 4000)+`"}`)
	})
	_, err := c.Guest(t.Context())
	status, ok := errors.AsType[*StatusError](err)
	if !ok || strings.Contains(err.Error()+status.Problem, token) || strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 600 {
		t.Errorf("error %v", err)
	}
}

func TestStorage(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/storage" && r.URL.Path != "/guests/8200/storage" {
			t.Errorf("path %s", r.URL.Path)
		}
		_, _ = io.WriteString(w, `{"storage":"low","guest":8200,"filesystems":[{"path":"/","size_bytes":10,"used_bytes":9,"available_bytes":1}]}`)
	})
	own, err := c.Storage(t.Context())
	byID, errByID := c.GuestStorage(t.Context(), 8200)
	if err != nil || errByID != nil || own.Storage != contract.StorageLow || len(byID.Filesystems) != 1 || byID.Filesystems[0].AvailableBytes != 1 {
		t.Errorf("%+v (%v), %+v (%v)", own, err, byID, errByID)
	}
}
