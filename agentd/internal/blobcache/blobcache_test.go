package blobcache_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/blobcache"
	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/filelock"
)

const repository = "registry.example/team/app"

type bed struct {
	*blobcache.Cache
	dir    string
	mu     sync.Mutex
	faults []string
}

func open(t testing.TB, dir string, limit int64) *bed {
	t.Helper()
	b := &bed{dir: dir}
	c, err := blobcache.Open(dir, limit, func(err error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.faults = append(b.faults, err.Error())
	})
	if err != nil {
		t.Fatal(err)
	}
	c.SetPatience(time.Minute) // for a busy machine
	b.Cache = c
	t.Cleanup(func() { _ = c.Close() })
	return b
}

func blob(fill byte, size int) ([]byte, contract.Digest) {
	data := bytes.Repeat([]byte{fill}, size)
	return data, digestOf(data)
}

func digestOf(data []byte) contract.Digest {
	sum := sha256.Sum256(data)
	d, err := contract.ParseDigest("sha256:" + hex.EncodeToString(sum[:]))
	if err != nil {
		panic(err)
	}
	return d
}

// put keeps data under digest and reports whether the cache took it.
func (b *bed) put(t *testing.T, repository string, digest contract.Digest, data []byte) bool {
	t.Helper()
	w := b.Create(repository, digest, int64(len(data)))
	if w == nil {
		return false
	}
	defer w.Close()
	_, _ = w.Write(data) // a fault is the cache's own
	w.Commit()
	return true
}

func (b *bed) has(t *testing.T, repository string, digest contract.Digest, want []byte) bool {
	t.Helper()
	f := b.Open(repository, digest, int64(len(want)))
	if f == nil {
		return false
	}
	defer func() { _ = f.Close() }()
	got, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the cache gave other bytes: %d of %d, %v", len(got), len(want), err)
	}
	return true
}

// files returns what is in the directory, without the lock.
func (b *bed) files(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(b.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != "lock" {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestABlobIsKeptForItsRepositoryAlone(t *testing.T) {
	b := open(t, t.TempDir(), 1000)
	data, digest := blob('a', 100)
	if b.has(t, repository, digest, data) {
		t.Error("an empty cache has a blob")
	}
	if !b.put(t, repository, digest, data) || !b.has(t, repository, digest, data) {
		t.Error("the blob is not kept")
	}
	for _, other := range []string{"registry.example/team/other", "other.example/team/app", "registry.example/team"} {
		if b.has(t, other, digest, data) {
			t.Errorf("%s has a blob that was pulled from %s", other, repository)
		}
	}
	if b.Create(repository, digest, 100) != nil {
		t.Error("a kept blob is written again")
	}
}

func TestOnlyWhatIsRightGetsItsName(t *testing.T) {
	data, digest := blob('a', 100)
	cases := map[string]func(w *blobcache.Writer){
		"other content": func(w *blobcache.Writer) { _, _ = w.Write(bytes.Repeat([]byte{'b'}, 100)); w.Commit() },
		"shorter":       func(w *blobcache.Writer) { _, _ = w.Write(data[:99]); w.Commit() },
		"longer":        func(w *blobcache.Writer) { _, _ = w.Write(data); _, _ = w.Write(data); w.Commit() },
		"not committed": func(w *blobcache.Writer) { _, _ = w.Write(data) },
	}
	for name, do := range cases {
		t.Run(name, func(t *testing.T) {
			b := open(t, t.TempDir(), 1000)
			w := b.Create(repository, digest, 100)
			do(w)
			w.Close()
			w.Close() // it is safe to repeat
			if b.has(t, repository, digest, data) {
				t.Error("the blob is kept")
			}
			if left := b.files(t); len(left) != 0 {
				t.Errorf("files are left: %v", left)
			}
			if !b.put(t, repository, digest, data) || !b.has(t, repository, digest, data) {
				t.Error("a right one is not kept afterwards")
			}
		})
	}
}

func TestTheLeastUsedGivesWay(t *testing.T) {
	b := open(t, t.TempDir(), 300)
	var all []contract.Digest
	var content [][]byte
	for i := range 3 {
		data, digest := blob(byte('a'+i), 100)
		all, content = append(all, digest), append(content, data)
		if !b.put(t, repository, digest, data) {
			t.Fatal("not kept")
		}
	}
	if !b.has(t, repository, all[0], content[0]) {
		t.Fatal("the first is gone too early")
	}
	more, digest := blob('x', 150)
	if !b.put(t, repository, digest, more) {
		t.Fatal("not kept")
	}
	for i, want := range []bool{true, false, false} {
		if got := b.has(t, repository, all[i], content[i]); got != want {
			t.Errorf("blob %d: kept %v, want %v", i, got, want)
		}
	}
	if large, digest := blob('y', 151); b.put(t, repository, digest, large) {
		t.Error("a blob of more than half the limit is kept")
	}
	first, second := b.Create(repository, digestOf([]byte("1")), 150), b.Create(repository, digestOf([]byte("2")), 150)
	if first == nil || second == nil {
		t.Fatal("two blobs that fit are not taken")
	}
	if b.Create(repository, digestOf([]byte("3")), 1) != nil {
		t.Error("more is taken than fits")
	}
	first.Close()
	if w := b.Create(repository, digestOf([]byte("3")), 1); w == nil {
		t.Error("what a closed writer had reserved is not free")
	} else {
		w.Close()
	}
	second.Close()
}

func TestABrokenFileIsDropped(t *testing.T) {
	data, digest := blob('a', 100)
	breaks := map[string]func(t *testing.T, path string){
		"cut":        func(t *testing.T, path string) { must(t, os.Truncate(path, 50)) },
		"zeros":      func(t *testing.T, path string) { must(t, os.WriteFile(path, make([]byte, 100), 0o600)) },
		"a link":     func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Symlink("/etc/passwd", path)) },
		"a director": func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, os.Mkdir(path, 0o700)) },
		"gone":       func(t *testing.T, path string) { must(t, os.Remove(path)) },
	}
	for name, destroy := range breaks {
		for _, isRestarted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				dir := t.TempDir()
				b := open(t, dir, 1000)
				b.put(t, repository, digest, data)
				if isRestarted {
					must(t, b.Close())
				}
				destroy(t, b.files(t)[0])
				if isRestarted {
					b = open(t, dir, 1000)
				}
				if b.has(t, repository, digest, data) {
					t.Error("a broken file is served")
				}
				if name == "a director" {
					return // it cannot be replaced by a file, and no blob is served
				}
				if !b.put(t, repository, digest, data) || !b.has(t, repository, digest, data) {
					t.Errorf("the blob is not kept again: %v", b.faults)
				}
			})
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAfterAKill(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir, 1000)
	kept, digest := blob('a', 100)
	b.put(t, repository, digest, kept)
	w := b.Create(repository, digestOf([]byte("x")), 100)
	_, _ = w.Write(make([]byte, 50))
	if n := len(b.files(t)); n != 2 {
		t.Fatalf("%d files, want the blob and the part", n)
	}
	if _, err := blobcache.Open(dir, 1000, func(error) {}); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("a second process: %v, want ErrHeld", err)
	}
	must(t, b.Close()) // what the end of a process does to the lock
	b = open(t, dir, 1000)
	if n := len(b.files(t)); n != 1 {
		t.Errorf("%d files, want the blob alone", n)
	}
	if !b.has(t, repository, digest, kept) {
		t.Error("the blob is gone")
	}
	must(t, b.Close())
	if b = open(t, dir, 99); len(b.files(t)) != 0 {
		t.Error("a smaller limit is not kept after a start")
	}
}

// A blob whose file is removed while it is written is not kept. A full disk is in the
// test of the proxy, TestPullsBesideAFaultyDisk.
func TestWhatCannotBeWrittenIsNotKept(t *testing.T) {
	b := open(t, t.TempDir(), 1000)
	data, digest := blob('a', 100)
	must(t, os.Chmod(b.dir, 0o700))
	name := filepath.Join(b.dir, strings.Repeat("0", 32))
	must(t, os.WriteFile(name, nil, 0o600)) // of no repository; ignored
	w := b.Create(repository, digest, 100)
	_, _ = w.Write(data)
	part := b.files(t)
	for _, p := range part {
		if strings.HasSuffix(p, ".part") {
			must(t, os.Remove(p))
		}
	}
	w.Commit()
	w.Close()
	if b.has(t, repository, digest, data) || len(b.faults) == 0 {
		t.Errorf("kept without a file, or nothing was said: %v", b.faults)
	}
}

func TestOthersMustNotWriteThere(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o777))
	if _, err := blobcache.Open(dir, 1000, func(error) {}); err == nil || !strings.Contains(err.Error(), "0700") {
		t.Errorf("error %v, want one that names the mode", err)
	}
}

func TestNilKeepsNothing(t *testing.T) {
	var c *blobcache.Cache
	_, digest := blob('a', 1)
	if c.Open(repository, digest, 1) != nil || c.Create(repository, digest, 1) != nil || c.Close() != nil {
		t.Error("a nil cache did something")
	}
}

func TestListAndPrune(t *testing.T) {
	if got, err := blobcache.List(filepath.Join(t.TempDir(), "none")); err != nil || len(got) != 0 {
		t.Errorf("no directory: %v, %v", got, err)
	}
	b := open(t, t.TempDir(), 1000)
	first, one := blob('a', 100)
	second, two := blob('b', 200)
	b.put(t, repository, one, first)
	b.put(t, repository, two, second)
	got, err := blobcache.List(b.dir)
	if err != nil || len(got) != 2 {
		t.Fatalf("list %v, %v, want two", got, err)
	}
	for _, path := range b.files(t) {
		if strings.HasSuffix(path, one.Hex()) {
			old := time.Now().Add(-48 * time.Hour)
			must(t, os.Chtimes(path, old, old))
		}
	}
	gone, err := blobcache.Prune(b.dir, time.Now().Add(-24*time.Hour))
	if err != nil || len(gone) != 1 || gone[0].Digest != one.String() {
		t.Errorf("pruned %v, %v, want %s", gone, err, one)
	}
	if b.has(t, repository, one, first) || !b.has(t, repository, two, second) || len(b.faults) != 0 {
		t.Errorf("after prune the daemon has another view; faults %v", b.faults)
	}
}

func TestManyAtOnce(t *testing.T) {
	b := open(t, t.TempDir(), 2000)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for round := range 20 {
				data, digest := blob(byte('a'+(i+round)%5), 100+(i+round)%5)
				if !b.has(t, repository, digest, data) {
					b.put(t, repository, digest, data)
				}
			}
		})
	}
	all.Wait()
	if left := b.files(t); len(left) != 5 || len(b.faults) != 0 {
		t.Errorf("%d files, want 5; faults %v", len(left), b.faults)
	}
}

// A manifest that gives a blob another size must not take it from those whose
// manifest is right.
func TestAWrongSizeDropsNothing(t *testing.T) {
	b := open(t, t.TempDir(), 1<<20)
	data, digest := blob('a', 1000)
	b.put(t, repository, digest, data)
	if f := b.Open(repository, digest, 999); f != nil {
		_ = f.Close()
		t.Error("it was found with another size")
	}
	if !b.has(t, repository, digest, data) || len(b.faults) > 0 {
		t.Errorf("the blob was dropped: %q", b.faults)
	}
}
