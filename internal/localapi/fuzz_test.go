package localapi

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/termtext"
)

// answers is a transport that reads each answer from bytes, as a host sent them.
type answers struct{ raw []byte }

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.ReadResponse(bufio.NewReader(bytes.NewReader(a.raw)), r)
}

// FuzzAnswer: no answer ends the client or puts the token into an error, and what an
// error shows of it is harmless and bounded.
func FuzzAnswer(f *testing.F) {
	const secret = "fgt_8200_0123456789"
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n{\"storage\":\"ok\",\"guest\":8200}\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n\r\n{\"error\":\"forbidden\",\"message\":\"token " + secret + " \\u001b[2J is another guest's\"}",
		"HTTP/1.1 503 x\r\nRetry-After: 99999999999999999999\r\n\r\n<html>", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "HTTP/1.1 200 OK\r\n\r\n{\"guest\":-1}", "HTTP/1.1 307 x\r\nLocation: http://other/\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	endpoint, err := contract.ParseEndpoint("https://192.0.2.1:8443")
	if err != nil {
		f.Fatal(err)
	}
	token, err := contract.ParseSecret(secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &Client{Endpoint: endpoint, Token: token}
		c.client().Transport = answers{raw}
		_, guestErr := c.Guest(t.Context())
		_, storageErr := c.Storage(t.Context())
		for _, err := range []error{guestErr, storageErr, c.Report(t.Context(), contract.Report{})} {
			if err == nil {
				continue
			}
			ClassOf(err)
			refused, ok := errors.AsType[*StatusError](err)
			if !ok {
				continue
			}
			text := refused.Error() + refused.Problem
			if strings.Contains(text, secret) || strings.ContainsFunc(text, func(r rune) bool { return !termtext.IsSafe(r) }) || len(text) > 3*4*maxProblemText {
				t.Errorf("%q gives %q", raw, text)
			}
			if refused.Code/100 == 2 || refused.RetryAfter < 0 || refused.RetryAfter > maxRetryAfter {
				t.Errorf("%q gives %+v", raw, refused)
			}
		}
	})
}
