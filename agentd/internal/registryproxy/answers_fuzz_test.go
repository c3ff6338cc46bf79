package registryproxy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// FuzzToken: a token server's token can be a header's value, is used for a bounded time,
// and is one that the answer has; what is refused gives none, and is not quoted.
func FuzzToken(f *testing.F) {
	for _, s := range []string{
		`{"token":"abc","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}`, `{"access_token":"abc.def-_~+/="}`, `{"token":"","access_token":"b"}`, `{"token":"a b"}`, `{"token":"a\r\nX: y"}`, `{"token":"\u00e9"}`,
		`{"token":"abc","expires_in":1e400}`, `{"token":"abc","expires_in":-1e308}`, `{"token":"abc","expires_in":"300"}`, `{"token":["a"]}`, `{"token":"0","":1e700}`, `{"TOKEN":"a","token":null}`, "<html>", "null", `{"token":"a"} x`, "",
	} {
		f.Add([]byte(s))
	}
	var visible string
	for c := byte('!'); c <= '~'; c++ {
		visible += string(rune(c))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		token, life, problem := parseToken(body)
		if problem != "" {
			if token != "" || life != 0 || strings.Contains(problem, "%") {
				t.Errorf("%q is refused with %q, and gives %q for %s", body, problem, token, life)
			}
			return
		}
		if token == "" || len(token) > maxTokenBytes || strings.Trim(token, visible) != "" || life < minTokenLife || life > maxTokenLife {
			t.Errorf("%q gives %q for %s", body, token, life)
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(body, &all); err != nil {
			t.Fatalf("%q gives %q, and is not an object: %v", body, token, err)
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(all)), func(value json.RawMessage) bool {
			var text string
			return json.Unmarshal(value, &text) == nil && text == token
		}) {
			t.Errorf("%q gives %q, which is not in it", body, token)
		}
	})
}

// FuzzPart: a guest is told to expect as many bytes as it asked for and as the manifest
// says, whatever a registry's headers say.
func FuzzPart(f *testing.F) {
	for _, s := range []string{"bytes 0-4/10", "bytes 5-9/10", "bytes 0-9/10", "bytes 0-4/*", "bytes 0-4/-5", "bytes 9-5/10", "bytes 0-99999999999999999999/10", "bytes 00-4/10", "bytes 0-4/10 ", ""} {
		for _, part := range []string{"bytes=0-4", "bytes=-5", "bytes=5-", ""} {
			f.Add(s, part, int64(5), int64(10), true)
		}
		f.Add(s, "bytes=0-4", int64(-1), int64(-1), true)
	}
	f.Add("", "", int64(10), int64(10), false)
	f.Add("", "", int64(-1), int64(-1), false)
	f.Add("", "", int64(9), int64(10), false)
	const most = 1 << 40
	f.Fuzz(func(t *testing.T, text, part string, length, size int64, isPart bool) {
		if part != "" && !oneRange.MatchString(part) || size < unknownSize || size > most || length < -1 {
			return // others are not asked for
		}
		s := &stream{proxy: &Proxy{limits: Limits{MaxBlob: most}}, request: &request{upstream: &upstream{}}}
		resp := &http.Response{StatusCode: http.StatusOK, ContentLength: length, Header: http.Header{"Content-Range": {text}}}
		if isPart {
			resp.StatusCode = http.StatusPartialContent
		}
		n, err := s.lengthOf(resp, size, part)
		if err != nil {
			if n != 0 || strings.ContainsAny(err.Error(), "\r\n\x1b") {
				t.Errorf("%q for %q: %d bytes and the error %q", text, part, n, err)
			}
			return
		}
		if n < 0 || n > most || length >= 0 && n != length {
			t.Errorf("%q for %q of %d bytes with a length of %d: %d bytes", text, part, size, length, n)
		}
		if !isPart {
			if size != unknownSize && n != size {
				t.Errorf("%d bytes of a blob of %d", n, size)
			}
			return
		}
		var first, last, total int64
		if _, err := fmt.Sscanf(text, "bytes %d-%d/%d", &first, &last, &total); err != nil || part == "" || first < 0 || last >= total || n != last-first+1 || n < 1 || size != unknownSize && total != size {
			t.Errorf("%q for %q of %d bytes: %d bytes, %v", text, part, size, n, err)
		}
	})
}
