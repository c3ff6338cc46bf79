package registryproxy_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/blobcache"
	"github.com/felhom/felhom-golden/agentd/internal/registryproxy"
)

// onBlobs answers requests for blobs alone.
func onBlobs(up *upstream, handle func(w http.ResponseWriter, r *http.Request)) {
	up.set(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		handle(w, r)
		return true
	})
}

func TestABlobThatIsNotAsAnnounced(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	n := len(i.layer)
	send := func(header map[string]string, status int, body []byte) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}
	}
	for name, c := range map[string]struct {
		handle func(http.ResponseWriter, *http.Request)
		rng    string
		early  bool // refused before the first byte
	}{
		"longer":             {send(map[string]string{"Content-Length": strconv.Itoa(n + 1)}, 200, append(bytes.Clone(i.layer), 'x')), "", true},
		"shorter":            {send(map[string]string{"Content-Length": "5"}, 200, i.layer[:5]), "", true},
		"encoded":            {send(map[string]string{"Content-Encoding": "gzip"}, 200, i.layer), "", true},
		"a part unasked":     {send(map[string]string{"Content-Range": "bytes 0-4/" + strconv.Itoa(n)}, 206, i.layer[:5]), "", true},
		"another part":       {send(map[string]string{"Content-Range": "bytes 1-5/" + strconv.Itoa(n)}, 206, i.layer[:5]), "bytes=0-4", true},
		"a part of another":  {send(map[string]string{"Content-Range": "bytes 0-4/77"}, 206, i.layer[:5]), "bytes=0-4", true},
		"a part of unknown":  {send(map[string]string{"Content-Range": "bytes 0-4/*"}, 206, i.layer[:5]), "bytes=0-4", true},
		"a part without it":  {send(nil, 206, i.layer[:5]), "bytes=0-4", true},
		"many parts":         {send(map[string]string{"Content-Type": "multipart/byteranges"}, 206, i.layer[:5]), "bytes=0-4", true},
		"a part with a tail": {send(map[string]string{"Content-Range": "bytes 0-4/" + strconv.Itoa(n) + "\tx"}, 206, i.layer[:5]), "bytes=0-4", true},
		"no content":         {send(nil, 204, nil), "", true},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, "", false},
		"chunked and short": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(i.layer[:n/2])
			w.(http.Flusher).Flush()
		}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			onBlobs(up, c.handle)
			b := newBed(t, up)
			var pairs []string
			if c.rng != "" {
				pairs = []string{"Range", c.rng}
			}
			got := b.get(t, blobPath(i.layerHash), pairs...)
			if c.early && got.status != http.StatusBadGateway {
				t.Errorf("%d, %d bytes, want 502", got.status, len(got.body))
			}
			if !c.early && (got.err == nil || len(got.body) >= n) {
				t.Errorf("%d, %d bytes, %v, want a cut answer", got.status, len(got.body), got.err)
			}
		})
	}
}

// Cut at each quarter, a pull continues where it was.
func TestACutBlobIsResumed(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	n := len(i.layer)
	for quarter := range 4 {
		cut := n * quarter / 4
		onBlobs(up, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(i.layer))
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(n))
			_, _ = w.Write(i.layer[:cut])
			panic(http.ErrAbortHandler)
		})
		b := newBed(t, up)
		first := b.get(t, blobPath(i.layerHash))
		if first.status == http.StatusBadGateway && cut == 0 {
			continue // nothing had arrived: engines try again
		}
		if first.status != 200 || first.err == nil || len(first.body) > cut {
			t.Fatalf("cut at %d: %d, %d bytes, %v", cut, first.status, len(first.body), first.err)
		}
		rest := b.get(t, blobPath(i.layerHash), "Range", "bytes="+strconv.Itoa(len(first.body))+"-")
		if got := slices.Concat(first.body, rest.body); rest.status != 206 || !bytes.Equal(got, i.layer) {
			t.Errorf("cut at %d: %d, then %d bytes", cut, rest.status, len(got))
		}
	}
}

// slow sends a byte and then nothing until the test ends.
func slow(t *testing.T, up *upstream, size int) (started chan struct{}) {
	t.Helper()
	started = make(chan struct{}, 100)
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	onBlobs(up, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		started <- struct{}{}
		select {
		case <-end:
		case <-r.Context().Done():
		}
	})
	return started
}

func TestAStreamEnds(t *testing.T) {
	t.Parallel()
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	limits := registryproxy.Limits{Check: 10 * time.Millisecond}
	for name, c := range map[string]struct {
		change func(l *registryproxy.Limits)
		act    func(b *bed)
		want   string
	}{
		"revoked":  {func(*registryproxy.Limits) {}, func(b *bed) { b.mu.Lock(); b.revoked = true; b.mu.Unlock() }, "no longer valid"},
		"ending":   {func(*registryproxy.Limits) {}, func(b *bed) { b.Stop() }, "is ending"},
		"stalled":  {func(l *registryproxy.Limits) { l.Stall = 3 * time.Second }, func(*bed) {}, "no byte"},
		"too long": {func(l *registryproxy.Limits) { l.Longest = 3 * time.Second }, func(*bed) {}, "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			l := limits
			c.change(&l)
			slow(t, up, len(i.layer))
			b := newBed(t, up, withLimits(l))
			resp, err := http.Get(b.server.URL + blobPath(i.layerHash))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			c.act(b)
			if _, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Error("the stream came to its end")
			}
			lines := waitFor(t, func() []registryproxy.Pull { return b.lines() })
			if last := lines[len(lines)-1]; last.Err == nil || !strings.Contains(last.Err.Error(), c.want) {
				t.Errorf("audit %+v, want the reason %q", last, c.want)
			}
		})
	}
}

// What a large blob of a whole repository may take goes by its size too, which no
// manifest has told: an end after the least time would cut it at each try.
func TestALargeBlobOfAWholeRepository(t *testing.T) {
	up := newUpstream(t)
	large := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	digest := digestOf(large)
	up.put(repository+"/blobs/"+digest.String(), "", large)
	cache, err := blobcache.Open(t.TempDir(), 100<<20, func(err error) { t.Errorf("cache: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close() })
	b := newBed(t, up, withCache(cache), withLimits(registryproxy.Limits{Longest: time.Nanosecond}))
	b.allow(registryproxy.Image{Host: up.host, Repository: repository})
	for i, from := range []string{"the registry", "the cache"} {
		if got := b.get(t, blobPath(digest)); got.status != http.StatusOK || got.err != nil || !bytes.Equal(got.body, large) {
			t.Errorf("from %s: %d, %d of %d bytes, %v", from, got.status, len(got.body), len(large), got.err)
		}
		if line := b.waitLines(t, i+1)[i]; line.IsCached != (i == 1) || line.Err != nil {
			t.Errorf("audit %+v, want a whole blob from %s", line, from)
		}
	}
}

// waitLines waits for n lines of the audit: the last one comes after its answer.
func (b *bed) waitLines(t *testing.T, n int) []registryproxy.Pull {
	t.Helper()
	return waitFor(t, func() []registryproxy.Pull {
		if lines := b.lines(); len(lines) >= n {
			return lines
		}
		return nil
	})
}

func waitFor[T any](t *testing.T, get func() []T) []T {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		if got := get(); len(got) > 0 {
			return got
		}
	}
	t.Fatal("nothing came within a minute")
	return nil
}

// A guest that reads nothing does not hold a stream for longer than a stall.
func TestAGuestThatDoesNotRead(t *testing.T) {
	up := newUpstream(t)
	const size = 64 << 20
	zeros := make([]byte, size)
	digest := digestOf(zeros)
	up.put(repository+"/blobs/"+digest.String(), "", zeros)
	b := newBed(t, up, withLimits(registryproxy.Limits{Check: 10 * time.Millisecond, Stall: 500 * time.Millisecond}))
	b.allow(registryproxy.Image{Host: up.host, Repository: repository})
	resp, err := http.Get(b.server.URL + blobPath(digest))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if line := waitFor(t, b.lines)[0]; line.Err == nil || line.Bytes >= size {
		t.Errorf("audit %+v, want an end of the stream", line)
	}
}

func TestSlots(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	started := slow(t, up, len(i.layer))
	b := newBed(t, up, withLimits(registryproxy.Limits{PerGuest: 2, Wait: 200 * time.Millisecond}))
	b.get(t, manifestPath("v1"))
	for range 2 {
		resp, err := http.Get(b.server.URL + blobPath(i.layerHash))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		<-started
	}
	if got := b.get(t, blobPath(i.layerHash)); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("a third one: %s", got.all())
	}
	if got := b.get(t, "/v2/"); got.status != 200 {
		t.Errorf("ping: %d", got.status)
	}
}

func TestBytesAreNotHeldBack(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	slow(t, up, len(i.layer))
	b := newBed(t, up)
	resp, err := http.Get(b.server.URL + blobPath(i.layerHash))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	one := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, one); err != nil || one[0] != 'x' {
		t.Errorf("%q, %v: the first byte is held back", one, err)
	}
}

func TestCache(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	dir := t.TempDir()
	cache, err := blobcache.Open(dir, 100<<20, func(err error) { t.Errorf("cache: %v", err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close() })
	b := newBed(t, up, withCache(cache))
	blobs := func() (n int) {
		for _, r := range up.seen() {
			if strings.Contains(r.URL.Path, "/blobs/") {
				n++
			}
		}
		return n
	}
	if got := b.get(t, blobPath(i.layerHash), "Range", "bytes=10-"); got.status != 206 || blobs() != 1 {
		t.Errorf("a part of a cold blob: %d", got.status)
	}
	b.get(t, blobPath(i.layerHash))
	for _, c := range []struct {
		rng  string
		want int
		body []byte
	}{{"", 200, i.layer}, {"bytes=10-19", 206, i.layer[10:20]}, {"bytes=-3", 206, i.layer[len(i.layer)-3:]}, {"bytes=9999999-", 416, nil}} {
		got := b.get(t, blobPath(i.layerHash), "Range", c.rng)
		if got.status != c.want || c.body != nil && !bytes.Equal(got.body, c.body) {
			t.Errorf("warm, %q: %d, %d bytes", c.rng, got.status, len(got.body))
		}
	}
	if n := blobs(); n != 2 {
		t.Errorf("%d requests for the blob, want 2: the part and the whole", n)
	}
	lines := b.waitLines(t, 5)
	if line := lines[len(lines)-1]; !line.IsCached {
		t.Errorf("audit %+v, want cached", line)
	}
	// Being in the cache gives no right: the image of another tag shares no blob.
	b.allow(registryproxy.Image{Host: up.host, Repository: repository, Tag: "v2"})
	up.push(t, repository, "v2", "two")
	if got := b.get(t, blobPath(i.layerHash)); got.status != 403 {
		t.Errorf("a guest that may not pull it gets it from the cache: %d", got.status)
	}
	// A hostile registry puts other bytes under the digest: they are not kept.
	onBlobs(up, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("x"), len(i.config)))
	})
	b.allow(registryproxy.Image{Host: up.host, Repository: repository, Tag: "v1"})
	quiet, err := blobcache.Open(t.TempDir(), 100<<20, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = quiet.Close() })
	other := newBed(t, up, withCache(quiet))
	other.get(t, blobPath(i.configDigest))
	up.set(nil)
	if got := other.get(t, blobPath(i.configDigest)); !bytes.Equal(got.body, i.config) {
		t.Error("the cache kept what its digest does not say")
	}
}

// A cache whose directory is gone costs nothing but the cache.
func TestABrokenCache(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	dir := t.TempDir() + "/cache"
	var faults atomic.Int32
	cache, err := blobcache.Open(dir, 100<<20, func(error) { faults.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close() })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	b := newBed(t, up, withCache(cache))
	for range 2 {
		if got := b.get(t, blobPath(i.layerHash)); got.status != 200 || !bytes.Equal(got.body, i.layer) {
			t.Errorf("%d, %d bytes", got.status, len(got.body))
		}
	}
	if faults.Load() == 0 {
		t.Error("nothing was said")
	}
}

func TestManyGuestsAtOnce(t *testing.T) {
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	basic(up)
	b := newBed(t, up, withLimits(registryproxy.Limits{Wait: time.Minute}))
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for _, path := range []string{manifestPath("v1"), manifestPath(i.digest.String()), blobPath(i.layerHash)} {
				if got := b.get(t, path); got.status != 200 {
					t.Errorf("%s: %s", path, got.all())
				}
			}
		})
	}
	all.Wait()
}
