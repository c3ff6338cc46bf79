package registryproxy_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/felhom/felhom-golden/agentd/internal/blobcache"
	"github.com/felhom/felhom-golden/internal/powercut"
)

// A disk of the cache that gets full, or cannot be read, costs nothing but the
// cache: a pull that it cuts continues from the registry.
func TestPullsBesideAFaultyDisk(t *testing.T) {
	disk := powercut.NewDisk(t)
	var mu sync.Mutex
	var faults []string
	cache, err := blobcache.Open(disk.Mount(t), 100<<20, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		faults = append(faults, err.Error())
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cache.Close() })
	said := func(want string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if !strings.Contains(strings.Join(faults, "\n"), want) {
			t.Errorf("said %q, want %q", faults, want)
		}
		faults = nil
	}
	up := newUpstream(t)
	i := up.push(t, repository, "v1", "one")
	b := newBed(t, up, withCache(cache))
	fromRegistry := func() (n int) {
		for _, r := range up.seen() {
			if strings.Contains(r.URL.Path, "/blobs/") {
				n++
			}
		}
		up.forget()
		return n
	}
	get := func(when string, asked int) {
		t.Helper()
		if got := b.get(t, blobPath(i.layerHash)); got.status != 200 || !bytes.Equal(got.body, i.layer) || got.err != nil {
			t.Errorf("%s: %d, %d bytes, %v", when, got.status, len(got.body), got.err)
		}
		if n := fromRegistry(); n != asked {
			t.Errorf("%s: the registry was asked %d times, want %d", when, n, asked)
		}
	}
	disk.Full.Store(true)
	get("full", 1)
	get("full, again", 1)
	said("no space left on device")
	disk.Full.Store(false)
	get("with room", 1)
	get("kept", 0)
	disk.Broken.Store(true)
	if got := b.get(t, blobPath(i.layerHash)); got.err == nil {
		t.Errorf("from a disk that cannot be read: %d, %d bytes", got.status, len(got.body))
	}
	said("input/output error")
	if got := b.get(t, blobPath(i.layerHash), "Range", "bytes=0-"); got.status != 206 || !bytes.Equal(got.body, i.layer) || got.err != nil {
		t.Errorf("the rest: %d, %d bytes, %v", got.status, len(got.body), got.err)
	}
	disk.Broken.Store(false)
	get("read again", 2) // the rest, and the whole
	get("kept again", 0)
}
