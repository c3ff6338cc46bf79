package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
	"github.com/felhom/felhom-golden/agentd/internal/token"
)

// FuzzAuthorization: a guest's token is read from one header alone, and of the form
// Basic it is what net/http reads.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{
		"Bearer fgt_8200_x", "bearer x", "Bearer", "Bearer  x", "Basic YTpi", "basic YTpiOmM=", "Basic Og==", "Basic YQ==", "Basic YTpi\n", "Basic YTpi=", "Basic  YTpi", "Basic " + strings.Repeat("YTpi", 100), "Digest x", "", "Bearer\tx", "Bearer a\x00b",
	} {
		f.Add(s, "")
	}
	f.Add("Bearer x", "Bearer y")
	f.Add("Basic YTpi", "Bearer y")
	open, guarded := &Server{registry: noRegistry{}}, &Server{}
	f.Fuzz(func(t *testing.T, first, second string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://host/v2/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Authorization"] = []string{first}
		if second != "" {
			r.Header["Authorization"] = []string{first, second}
		}
		got, strict := open.claimed(r), guarded.claimed(r)
		if second != "" && got+strict != "" {
			t.Errorf("%q and %q are the token %q", first, second, got)
		}
		if second != "" {
			return
		}
		_, password, isBasic := r.BasicAuth()
		switch {
		case isBasic && (got != password || strict != ""):
			t.Errorf("%q is %q, and %q without a registry; net/http reads the password %q", first, got, strict, password)
		case !isBasic && got != strict:
			t.Errorf("%q is %q, and %q without a registry", first, got, strict)
		case got != "" && !isBasic && !strings.HasSuffix(first, " "+got):
			t.Errorf("%q is the token %q", first, got)
		}
		if _, err := token.Parse(got); err != nil && got != "" && strings.Contains(err.Error(), got) && len(got) > 8 {
			t.Errorf("the error of %q shows it: %v", got, err)
		}
	})
}

// FuzzOwnAnswer: an answer that is taken for one of net/http itself has a status, and
// what replaces it has no line of the request.
func FuzzOwnAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 400 Bad Request" + plainHeaders + "400 Bad Request", "HTTP/1.1 400 Bad Request: invalid header name" + plainHeaders + "400 Bad Request: invalid header name", "HTTP/1.1 431 Request Header Fields Too Large" + plainHeaders, "HTTP/1.0 505 HTTP Version Not Supported: unsupported protocol version" + plainHeaders,
		"HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 4", "HTTP/1.", "HTTP/1.1 501 Not Implemented: Unsupported transfer encoding" + plainHeaders,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		isHTTP(answer)
		status, ok := ownAnswer(answer)
		if !ok {
			return
		}
		if len(status) < 3 || strings.ContainsAny(status, "\r\n:") {
			t.Errorf("%q has the status %q", answer, status)
		}
		if got := errorAnswer(status, refusedMalformed.Problem); strings.Count(string(got), "\r\n\r\n") != 1 {
			t.Errorf("%q is replaced by %q", answer, got)
		}
	})
}

type noRegistry struct{}

func (noRegistry) Serve(http.ResponseWriter, *http.Request, registryproxy.Guest) {}
