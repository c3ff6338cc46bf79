package docker

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// FuzzStream reads what an engine says of a pull; the sizes in it are a registry's.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		`{"status":"Pulling from library/app","id":"v1"}
{"status":"Pulling fs layer","progressDetail":{},"id":"0a1b"}
{"status":"Downloading","progressDetail":{"current":32768,"total":2814446},"progress":"[>  ]  32.77kB/2.814MB","id":"0a1b"}
{"status":"Downloading","progressDetail":{"current":2814446,"total":2814446},"id":"0a1b"}
{"status":"Verifying Checksum","progressDetail":{},"id":"0a1b"}{"status":"Download complete","progressDetail":{},"id":"0a1b"}
{"status":"Extracting","progressDetail":{"current":65536,"total":2814446},"id":"0a1b"}
{"status":"Pull complete","progressDetail":{},"id":"0a1b"}
{"status":"Digest: sha256:0"}{"status":"Status: Downloaded newer image for app:v1"}`,
		`{"errorDetail":{"message":"toomanyrequests: slow down"},"error":"toomanyrequests: slow down"}`, `{"error":"denied"}`, `{"stream":"Loaded image: app:v1\n"}`, `{"id":"a","status":"x"`, "[]", `{"id":{}}`,
		`{"id":"a","status":"Downloading","progressDetail":{"current":9223372036854775807,"total":9223372036854775807}}{"id":"b","status":"Downloading","progressDetail":{"current":9223372036854775807,"total":1}}`,
		`{"id":"a","status":"Downloading","progressDetail":{"current":-9223372036854775808,"total":-1}}{"id":"a","status":"Downloading","progressDetail":{"current":5,"total":9}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var last Progress
		err := readMessages(bytes.NewReader(data), func(p Progress) {
			if p.Moved < last.Moved || p.Work <= last.Work || p.Done < 0 || p.Total < 0 {
				t.Errorf("%+v follows %+v", p, last)
			}
			last = p
		}, func(string) {})
		if said, ok := errors.AsType[*streamError](err); ok && said.text == "" {
			t.Error("a failure without a text")
		}
	})
}

// FuzzText classifies an engine's words: they have one meaning, and what a registry
// or a proxy puts into a page does not change it to one about the credential.
func FuzzText(f *testing.F) {
	for _, s := range []string{
		"login attempt to http://H/v2/ failed with status: 401 Unauthorized", "denied", "manifest for H/a:1 not found: manifest unknown: manifest unknown", "no matching manifest for linux/amd64 in the manifest list entries",
		`error parsing HTTP 412 response body: invalid character '<' looking for beginning of value: "<html>denied: 401 Unauthorized"`, "received unexpected HTTP status: 503 Service Unavailable",
		`failed to resolve reference "H/a:1": unexpected status from HEAD request to https://H/v2/a/manifests/1: 429 Too Many Requests`, "<!DOCTYPE html><title>x509: login</title>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		kind := fromText(text)
		if got := classify(&streamError{text}); kind != Unknown && got != kind {
			t.Errorf("%q is %s, and %s in a stream", text, kind, got)
		}
		fault := &FaultError{Op: "pull", Kind: kind, Err: errors.New(text)}
		if KindOf(fault) != kind || kind.Verdict() < Retry || kind.Verdict() > Permanent {
			t.Errorf("%q is %s with the verdict %d", text, kind, kind.Verdict())
		}
		page := `error parsing HTTP 503 response body: invalid character '<' looking for beginning of value: "<html>` + strings.ReplaceAll(text, `"`, "") + `"`
		if got := fromText(page); strings.HasPrefix(page, "error parsing HTTP 503") && (got == Credential401 || got == Denied || got == NoCredential) {
			t.Errorf("%q is %s", page, got)
		}
	})
}

func TestLongStreams(t *testing.T) {
	fuzztest.Long(t, `{"id":"a"}`, func(text string) { _ = readStream(strings.NewReader(text), func(Progress) {}) }, "\n", "{", `{"a":`, `{"id":"a","status":"b"}`, `{"id":"a","progressDetail":{"current":1}}`)
}
