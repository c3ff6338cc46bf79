package registryproxy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// Stop ends what a guest waits for, and it is told to ask again: else a slow
// registry would keep the daemon from its end.
func TestStopEndsEveryWait(t *testing.T) {
	for name, c := range map[string]struct {
		hangs string // in the path of what the registry does not answer
		paths []string
	}{
		// One of them asks, the next waits for its answer, and the others for a slot.
		"a manifest by its tag": {"/manifests/", []string{manifestPath("v1"), manifestPath("v1"), manifestPath("v1"), manifestPath("v1")}},
		"manifests by digest": {"/manifests/", []string{
			manifestPath(digestOf([]byte("a")).String()), manifestPath(digestOf([]byte("b")).String()), manifestPath(digestOf([]byte("c")).String()),
		}},
		"a token":                  {"/token", []string{manifestPath("v1"), blobPath(digestOf([]byte("a")))}},
		"a blob before its header": {"/blobs/", []string{blobPath(digestOf([]byte("a")))}},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t)
			asked := make(chan struct{}, 100)
			up.set(func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.Contains(r.URL.Path, c.hangs):
					asked <- struct{}{}
					<-r.Context().Done()
				case c.hangs == "/token":
					w.Header().Set("WWW-Authenticate", `Bearer realm="`+up.URL+`/token",service="s"`)
					w.WriteHeader(http.StatusUnauthorized)
				default:
					return false
				}
				return true
			})
			withoutCredential := withRegistry(func(r *registryproxy.Registry) { r.Credential = nil })
			b := newBed(t, up, withoutCredential, withLimits(registryproxy.Limits{PerGuest: 2}))
			b.allow(registryproxy.Image{Host: up.host, Repository: repository})
			answers := make(chan answer, len(c.paths))
			for _, path := range c.paths {
				go func() {
					resp, err := http.Get(b.server.URL + path)
					if err != nil {
						answers <- answer{err: err}
						return
					}
					answers <- answer{status: resp.StatusCode, header: resp.Header, err: resp.Body.Close()}
				}()
			}
			<-asked
			b.Stop()
			for range c.paths {
				if got := <-answers; got.err != nil || got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
					t.Errorf("%s, %v, want 503 with Retry-After", got.all(), got.err)
				}
			}
			if faults := b.faults(); faults != "" {
				t.Errorf("the registry is blamed:\n%s", faults)
			}
		})
	}
}

// A guest is told to ask again if its records cannot be read in time, or the daemon ends meanwhile; only a
// fault is one for the operator.
func TestRecordsThatCannotBeRead(t *testing.T) {
	waiting := make(chan struct{}, 1)
	for name, c := range map[string]struct {
		images       func(context.Context) error
		status       int
		isForAgain   bool
		wantFailures int
	}{
		"busy":   {func(context.Context) error { return fmt.Errorf("guest 8200: %w", registryproxy.ErrBusy) }, http.StatusServiceUnavailable, true, 0},
		"broken": {func(context.Context) error { return errors.New("the record is damaged") }, http.StatusInternalServerError, false, 1},
		"the end": {func(ctx context.Context) error {
			waiting <- struct{}{}
			<-ctx.Done()
			return context.Cause(ctx)
		}, http.StatusServiceUnavailable, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, newUpstream(t), func(o *registryproxy.Options) {
				o.Images = func(ctx context.Context, _ int) ([]registryproxy.Image, error) { return nil, c.images(ctx) }
			})
			if name == "the end" {
				go func() { <-waiting; b.Stop() }()
			}
			got := b.get(t, manifestPath("v1"))
			if got.status != c.status || got.header.Get("Retry-After") != "" != c.isForAgain {
				t.Errorf("got %s, want %d, with Retry-After: %v", got.all(), c.status, c.isForAgain)
			}
			if failures := b.failed(); len(failures) != c.wantFailures {
				t.Errorf("failures %v, want %d", failures, c.wantFailures)
			}
		})
	}
}
