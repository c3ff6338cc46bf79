package registryproxy_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A registry that writes the credential back, in what is not the body, does not get
// it into the host's log or to a guest.
func TestAnEchoIsNotRepeated(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	for name, raw := range map[string]string{
		"status":       "HTTP/1.1 500 got %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"refusal":      "HTTP/1.1 403 got %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"not HTTP":     "got %s\r\n\r\n",
		"no header":    "HTTP/1.1 200 OK\r\ngot %s\r\n\r\n",
		"content type": "HTTP/1.1 200 OK\r\nContent-Type: got/%s\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
		"encoding":     "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
		"location":     "HTTP/1.1 307 x\r\nLocation: %s://x/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for what, part := range map[string]func(r *http.Request) string{
				"header":   func(r *http.Request) string { return r.Header.Get("Authorization") },
				"value":    func(r *http.Request) string { return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ") },
				"password": func(r *http.Request) string { _, p, _ := r.BasicAuth(); return p },
			} {
				var isSent atomic.Bool
				up.set(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Header.Get("Authorization") == "" {
						w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
						w.WriteHeader(http.StatusUnauthorized)
						return true
					}
					isSent.Store(true)
					conn, _, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return true
					}
					_, _ = fmt.Fprintf(conn, raw, part(r))
					_ = conn.Close()
					return true
				})
				b := newBed(t, up)
				got := b.get(t, manifestPath(i.digest.String()))
				if !isSent.Load() || got.status == http.StatusOK || b.faults() == "" {
					t.Fatalf("%s: status %d, faults %q, credential sent: %v", what, got.status, b.faults(), isSent.Load())
				}
				for _, secret := range []string{base64.StdEncoding.EncodeToString([]byte(user + ":" + password)), password} {
					if strings.Contains(b.faults()+got.all(), secret) {
						t.Errorf("%s: the credential is repeated: %s", what, b.faults())
					}
				}
			}
		})
	}
}
