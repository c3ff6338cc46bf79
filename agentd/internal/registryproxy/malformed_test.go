package registryproxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Answers that are not HTTP, or two things at once, are the registry's fault and
// never the guest's to read.
func TestMalformedAnswers(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	n := len(i.layer)
	layer := string(i.layer)
	for name, raw := range map[string]string{
		"not HTTP":              "SSH-2.0-OpenSSH_9.2\r\n\r\n",
		"nothing":               "",
		"a status alone":        "HTTP/1.1 200 OK\r\n",
		"a status of letters":   "HTTP/1.1 abc OK\r\n\r\n",
		"two lengths":           fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Length: 5\r\n\r\n%s", n, layer),
		"a negative length":     "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nown words",
		"a length of letters":   "HTTP/1.1 200 OK\r\nContent-Length: 0x10\r\n\r\nown words",
		"a header without name": "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 5\r\n\r\nown w",
		"a header with a blank": "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nown w",
		"a folded header":       "HTTP/1.1 401 no\r\nWWW-Authenticate: Basic\r\n realm=\"own words\"\r\nContent-Length: 0\r\n\r\n",
		"odd chunks":            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nown words\r\n",
		"huge chunks":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nown words\r\n",
		"another encoding":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"hints without end":     strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: <own words>\r\n\r\n", 5000),
		"switching protocols":   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: own words\r\nConnection: Upgrade\r\n\r\nown words",
		"a header without end":  "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("own words ", 20000),
		"an old version":        "HTTP/0.9 200 OK\r\n\r\nown words",
		"a redirect to itself":  "HTTP/1.1 307 x\r\nLocation: " + blobPath(i.layerHash) + "\r\nContent-Length: 0\r\n\r\n",
		"a redirect to a file":  "HTTP/1.1 307 x\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
		"a redirect to nowhere": "HTTP/1.1 308 x\r\nLocation: https:\r\nContent-Length: 0\r\n\r\n",
		"use a proxy":           "HTTP/1.1 305 x\r\nLocation: https://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
		"proxy authentication":  "HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm=\"own words\"\r\nContent-Length: 0\r\n\r\n",
		"not modified":          "HTTP/1.1 304 x\r\n\r\n",
		"many challenges":       "HTTP/1.1 401 x\r\n" + strings.Repeat("WWW-Authenticate: Bearer realm=\"https://192.0.2.1/own words\"\r\n", 500) + "Content-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{manifestPath("v1"), blobPath(i.layerHash)} {
				own := newUpstream(t)
				own.push(t, repository, "v1", "one")
				own.set(func(w http.ResponseWriter, r *http.Request) bool {
					if strings.Contains(path, "/blobs/") && !strings.Contains(r.URL.Path, "/blobs/") {
						return false
					}
					conn, _, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return true
					}
					_, _ = io.WriteString(conn, raw) // the proxy may have enough of it
					_ = conn.Close()
					return true
				})
				b := newBed(t, own)
				began := time.Now()
				got := b.get(t, path)
				if got.status != http.StatusBadGateway && got.status != http.StatusGatewayTimeout && got.err == nil {
					t.Errorf("%s: %.300s", path, got.all())
				}
				if got.err == nil { // else it is the beginning of a blob, which was cut
					assertNothingLeaks(t, name, got)
				}
				if took := time.Since(began); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				if text := b.faults(); len(text) > 4000 || strings.Contains(text, "\r") {
					t.Errorf("the log has %d bytes: %.500q", len(text), text)
				}
			}
		})
	}
}
