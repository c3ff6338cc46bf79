package blobcache_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/blobcache"
	"github.com/felhom/felhom-golden/internal/contract"
)

// After a restart a blob is read once to check it, however many ask at once: to
// read a large one again for each would keep disk and processor from others.
func TestABlobIsCheckedOnce(t *testing.T) {
	const size, askers = 32 << 20, 8
	data, digest := blob('a', size)
	dir := t.TempDir()
	b := open(t, dir, 100<<20)
	b.put(t, repository, digest, data)
	must(t, b.Close())
	b = open(t, dir, 100<<20)
	if n := b.readFor(t, askers, digest, size); n < size || n > 2*size {
		t.Errorf("%d bytes were read to check %d", n, size)
	}
}

// readFor returns how many bytes this process reads while so many ask for a blob at once.
func (b *bed) readFor(t *testing.T, askers int, digest contract.Digest, size int64) int64 {
	t.Helper()
	before := bytesRead(t)
	var all sync.WaitGroup
	for range askers {
		all.Go(func() {
			if f := b.Open(repository, digest, size); f == nil {
				t.Error("the blob is not there")
			} else if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return bytesRead(t) - before
}

// The time of a use, which the cache writes once an hour, is not a change that the
// blob has to be read again for. A change by another process at that time is.
func TestAUseIsNotAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, askers = 32 << 20, 8
		data, digest := blob('a', size)
		b := open(t, t.TempDir(), 100<<20)
		b.put(t, repository, digest, data)
		for range 3 {
			<-time.After(2 * time.Hour)
			used := time.Now()
			if n := b.readFor(t, askers, digest, size); n >= size {
				t.Errorf("%d bytes were read for a blob of %d that was checked before", n, size)
			}
			if all, err := blobcache.List(b.dir); err != nil || len(all) != 1 || !all[0].Used.Equal(used) {
				t.Errorf("list %+v, %v, want a use at %v", all, err, used)
			}
		}
		<-time.After(2 * time.Hour)
		must(t, os.WriteFile(b.files(t)[0], make([]byte, size), 0o600))
		if b.has(t, repository, digest, data) || len(b.faults) != 1 || !strings.Contains(b.faults[0], "SHA-256") {
			t.Errorf("a blob that was changed is served, or nothing was said: %q", b.faults)
		}
	})
}

// A check that takes long keeps no request waiting: meanwhile the blob is not
// found, which has it pulled, and it stays. A broken one is dropped all the same.
func TestALongCheckKeepsNoRequestWaiting(t *testing.T) {
	const size = 8 << 20
	dir := t.TempDir()
	b := open(t, dir, 100<<20)
	whole, digest := blob('a', size)
	broken, other := blob('b', size)
	b.put(t, repository, digest, whole)
	b.put(t, repository, other, broken)
	must(t, b.Close())
	for _, path := range b.files(t) {
		if strings.HasSuffix(path, other.Hex()) {
			must(t, os.WriteFile(path, make([]byte, size), 0o600))
		}
	}
	b = open(t, dir, 100<<20)
	b.SetPatience(0)
	if b.Create(repository, digest, size) != nil {
		t.Error("a kept blob is written again")
	}
	for name, is := range map[string]func() bool{
		"found":   func() bool { return b.has(t, repository, digest, whole) },
		"dropped": func() bool { return b.put(t, repository, other, broken) },
	} {
		b.has(t, repository, other, broken) // starts its check
		for deadline := time.Now().Add(time.Minute); !is(); <-time.After(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the blob is not %s", name)
			}
		}
	}
	if len(b.faults) != 1 || !strings.Contains(b.faults[0], "SHA-256") {
		t.Errorf("faults: %q", b.faults)
	}
}

// Close ends checks, and can be called beside them.
func TestCloseEndsChecks(t *testing.T) {
	const size = 16 << 20
	dir := t.TempDir()
	b := open(t, dir, 100<<20)
	data, digest := blob('a', size)
	b.put(t, repository, digest, data)
	must(t, b.Close())
	b = open(t, dir, 100<<20)
	b.SetPatience(0)
	if f := b.Open(repository, digest, size); f != nil {
		must(t, f.Close())
	}
	must(t, b.Close())
	b = open(t, dir, 100<<20)
	if !b.has(t, repository, digest, data) {
		t.Errorf("the blob was dropped: %q", b.faults)
	}
}

// bytesRead returns what this process has read.
func bytesRead(t *testing.T) (n int64) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/io")
	must(t, err)
	_, err = fmt.Sscanf(string(data), "rchar: %d", &n)
	must(t, err)
	return n
}
