package registryproxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/internal/fuzztest"
)

// quoted writes a value as RFC 9110 has it.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func FuzzChallenges(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull"`, `Basic realm="Registry"`, `Basic`, `Negotiate, Basic realm=x, Bearer realm="a\"b" , error="x"`,
		`Bearer realm="`, `Bearer realm=,`, `Bearer realm = "x"`, ", ,\t,", `a=b`, strings.Repeat("Basic,", 20),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := parseChallenges(http.Header{"Www-Authenticate": {text, text}})
		if len(got) > maxChallenges {
			t.Errorf("%d challenges", len(got))
		}
		for _, c := range got {
			again := []string{}
			for name, value := range c.params {
				if name != strings.ToLower(name) || strings.ContainsFunc(name, func(r rune) bool { return r > 0x7f || !isTokenByte(byte(r)) }) {
					t.Errorf("%q has the parameter %q", text, name)
				}
				if value != "" { // an empty one is replaced by a later one
					again = append(again, name+"="+quoted(value))
				}
			}
			if c.scheme != strings.ToLower(c.scheme) || c.scheme == "" {
				t.Errorf("%q has the scheme %q", text, c.scheme)
			}
			read := parseChallenges(http.Header{"Www-Authenticate": {c.scheme + " " + strings.Join(again, ", ")}})
			if len(read) != 1 || read[0].scheme != c.scheme {
				t.Fatalf("%q is written and read as %q", c, read)
			}
			for name, value := range c.params {
				if read[0].params[name] != value {
					t.Errorf("%q: %q is written and read as %q", text, value, read[0].params[name])
				}
			}
		}
	})
}

func TestLongChallenges(t *testing.T) {
	for _, head := range []string{"", `Bearer realm="`, "Bearer a=b"} {
		fuzztest.Long(t, head, func(text string) { parseChallenges(http.Header{"Www-Authenticate": {text}}) }, ",", "a", "a ", "a=", ",a=b", "\"", "\\\"", " ")
	}
}

// FuzzManifest holds what a registry sends as a manifest to what is passed on.
func FuzzManifest(f *testing.F) {
	digest := "sha256:" + strings.Repeat("0", 64)
	for _, s := range [][2]string{
		{`{"schemaVersion":2,"mediaType":"` + typeOCIManifest + `","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + digest + `","size":2},"layers":[{"digest":"` + digest + `","size":7}]}`, typeOCIManifest},
		{`{"schemaVersion":2,"manifests":[{"digest":"` + digest + `","size":7,"platform":{"architecture":"amd64","os":"linux"}}]}`, typeOCIIndex + "; charset=utf-8"},
		{`{"schemaVersion":2,"manifests":[],"config":{}}`, typeDockerList},
		{`{"schemaVersion":1}`, typeDocker},
		{`{"schemaVersion":2,"layers":{}}`, typeDocker},
		{`{"schemaVersion":2,"config":{"digest":"` + digest + `","size":-1}}`, typeDocker},
		{"<html>", "text/html"},
	} {
		f.Add([]byte(s[0]), s[1])
	}
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		m, err := (&upstream{}).parseManifest(body, contentType)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Errorf("error %q", err)
			}
			return
		}
		if !slices.Contains(manifestTypes, m.mediaType) || m.digest != digestOf(body) || len(m.children) > maxDescriptors || len(m.blobs) > maxDescriptors+1 {
			t.Errorf("%q is read as %+v", body, m)
		}
		if m.isIndex() != m.config.IsZero() || m.isIndex() && len(m.blobs) > 0 || !m.isIndex() && len(m.children) > 0 {
			t.Errorf("%q is index and image: %+v", body, m)
		}
		for _, d := range append(m.children, m.blobs...) {
			if d.digest.IsZero() || d.size < 0 {
				t.Errorf("%q has the entry %+v", body, d)
			}
		}
	})
}

// FuzzRange reads what guests ask for; the size may be what a registry says.
func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=5-9", "bytes=-5", "bytes=999999999999999999-999999999999999999", "bytes=0-0,5-6", "bytes=9-5", "bytes=-0"} {
		f.Add(s, int64(10))
		f.Add(s, int64(-10))
	}
	f.Fuzz(func(t *testing.T, part string, size int64) {
		if !oneRange.MatchString(part) {
			return
		}
		first, length, ok := resolveRange(part, size)
		if ok && (first < 0 || length < 1 || first > size-length) || !ok && (first != 0 || length != 0) {
			t.Errorf("%s of %d bytes is %d bytes from %d, %v", part, size, length, first, ok)
		}
		if from, _, isOpen := strings.Cut(strings.TrimPrefix(part, "bytes="), "-"); isOpen && from != "" && ok && strconv.FormatInt(first, 10) != strings.TrimLeft(from[:len(from)-1], "0")+from[len(from)-1:] {
			t.Errorf("%s of %d bytes starts at %d", part, size, first)
		}
	})
}
