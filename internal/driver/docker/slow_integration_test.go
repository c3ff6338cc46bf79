//go:build integration

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/internal/e2e/faultregistry"
	"github.com/felhom/felhom-golden/internal/e2e/testbed"
)

// front serves one image as a registry at the end of a slow link.
type front struct {
	registry
	rate  int          // bytes a second of a layer, up to slow
	slow  int64        // how many bytes of layers go through at that rate, of all requests; then it is fast
	halt  int64        // after how many bytes of layers hold begins; 0: it does not
	hold  atomic.Bool  // nothing goes through any more
	sent  atomic.Int64 // bytes of layers
	asked atomic.Int64 // requests for layers
}

// ServeHTTP implements [http.Handler].
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, faultregistry.DigestOf(f.Artifact.Layer)) && r.Method == http.MethodGet {
		f.asked.Add(1)
		f.registry.ServeHTTP(&shaped{ResponseWriter: w, front: f, request: r}, r)
		return
	}
	f.registry.ServeHTTP(w, r)
}

// shaped is an answer that goes through the slow link.
type shaped struct {
	http.ResponseWriter
	front   *front
	request *http.Request
}

// Write implements [io.Writer].
func (s *shaped) Write(p []byte) (n int, err error) {
	f := s.front
	for len(p) > 0 {
		for f.hold.Load() {
			select {
			case <-s.request.Context().Done():
				return n, s.request.Context().Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
		size := len(p)
		if f.sent.Load() < f.slow {
			size = min(size, f.rate/10)
			select {
			case <-s.request.Context().Done():
				return n, s.request.Context().Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
		sent, err := s.ResponseWriter.Write(p[:size])
		n += sent
		if now := f.sent.Add(int64(sent)); now-int64(sent) < f.halt && now >= f.halt {
			f.hold.Store(true)
		}
		if err != nil {
			return n, err
		}
		if flusher, ok := s.ResponseWriter.(http.Flusher); ok {
			flusher.Flush()
		}
		p = p[size:]
	}
	return n, nil
}

// slowFront starts a front of an image with a layer of that size, and returns
// the image's name.
func slowFront(t *testing.T, size int, f *front) (ref string) {
	t.Helper()
	content := make([]byte, size)
	_, _ = rand.Read(content) // it never fails
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "a", Mode: 0o644, Size: int64(size)}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{faultregistry.DigestOf(layer.Bytes())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Artifact = artifact{Config: config, Layer: layer.Bytes(), ConfigType: faultregistry.TypeConfig, LayerType: faultregistry.TypeLayer}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/felhom/slow:v1"
}

// slowClient is a client whose pulls may move nothing for stall, in a network
// that receives what f sends.
func slowClient(t *testing.T, bed testbed.Bed, stall time.Duration, f *front) *Client {
	t.Helper()
	c, err := New(bed.DockerHost)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.stall = stall
	c.received = func() (int64, error) { return f.sent.Load(), nil }
	return c
}

// TestASlowPullIsNotEnded pulls at 64 KiB a second, through several times the
// time that a pull may move nothing. Engine 20.10 reports each hundredth of a
// layer: of this one, silences that are longer than that time.
func TestASlowPullIsNotEnded(t *testing.T) {
	t.Parallel()
	bed := testbed.FromEnv(t)
	const stall = 4 * time.Second
	f := &front{rate: 64 << 10, slow: 1 << 20}
	ref := slowFront(t, 48<<20, f)
	t.Cleanup(func() { _ = bed.Engine(t).RemoveImage(context.Background(), ref) })
	c := slowClient(t, bed, stall, f)
	began, last, longest := time.Now(), time.Now(), time.Duration(0)
	// Only while the link is slow do the layer's bytes alone count: a busy engine may take longer than
	// that time for its first request, and to store the layer.
	c.received = func() (int64, error) {
		n := f.sent.Load()
		if n == 0 || n >= f.slow {
			n += int64(time.Since(began).Seconds() * 2 * leastRate)
		}
		return n, nil
	}
	err := c.Pull(t.Context(), ref, Credential{}, func(Progress) {
		longest, last = max(longest, time.Since(last)), time.Now()
	})
	if err != nil {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	if took := time.Since(began); took < 3*stall || f.asked.Load() != 1 {
		t.Errorf("it took %v with %d downloads: the link was not slow", took, f.asked.Load())
	}
	t.Logf("pulled in %v; the engine was silent for up to %v", time.Since(began), longest)
}

// TestADeadPullEndsAndTheNextOneConverges: the layer comes to a halt in the
// middle, and continues when the next pull asks for it, from its beginning on
// engines that cannot resume.
func TestADeadPullEndsAndTheNextOneConverges(t *testing.T) {
	t.Parallel()
	bed := testbed.FromEnv(t)
	const size = 8 << 20
	f := &front{rate: 256 << 10, slow: 1 << 20, halt: size / 20}
	ref := slowFront(t, size, f)
	t.Cleanup(func() { _ = bed.Engine(t).RemoveImage(context.Background(), ref) })
	c := slowClient(t, bed, 3*time.Second, f)
	err := c.Pull(t.Context(), ref, Credential{}, nil)
	if KindOf(err) != Stalled || KindOf(err).Verdict() != Retry || !strings.Contains(err.Error(), "no byte arrived for") {
		t.Fatalf("got %v of kind %s, want %s, which is tried again", err, KindOf(err), Stalled)
	}
	before := f.sent.Load()
	f.hold.Store(false)
	c.stall = StallLimit // the link works now, and a busy engine may take longer than that time
	if err := c.Pull(t.Context(), ref, Credential{}, nil); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes before the halt, %d after it, of a layer of %d", before, f.sent.Load()-before, size)
}
