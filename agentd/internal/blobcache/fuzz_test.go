package blobcache_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/felhom/felhom-golden/agentd/internal/blobcache"
)

// FuzzEntry: whatever is in the cache's directory, a pull gets the bytes of the digest
// that it asked for, or none, and what is not a blob stays.
func FuzzEntry(f *testing.F) {
	good, digest := blob('x', 100)
	f.Add("", good)
	f.Add("", good[:99])
	f.Add("", []byte{})
	f.Add(digest.Hex()+".part", good)
	f.Add("note.txt", good)
	f.Add(strings.ToUpper(digest.Hex()), good)
	f.Add("..", []byte("x"))
	f.Add("\xff", []byte("x"))
	dir := f.TempDir()
	first := open(f, dir, 1<<20)
	writer := first.Create(repository, digest, int64(len(good)))
	if writer == nil {
		f.Fatal("nothing is kept")
	}
	if _, err := writer.Write(good); err != nil {
		f.Fatal(err)
	}
	writer.Commit()
	writer.Close()
	if err := first.Close(); err != nil {
		f.Fatal(err)
	}
	blobs, err := filepath.Glob(filepath.Join(dir, "*", digest.Hex()))
	if err != nil || len(blobs) != 1 {
		f.Fatalf("blobs %v, %v", blobs, err)
	}
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		if name == "" {
			name = digest.Hex()
		}
		file := filepath.Join(filepath.Dir(blobs[0]), name)
		if strings.ContainsAny(name, "/\x00") || name == "." || name == ".." || len(name) > 200 {
			t.Skip("not the name of a file")
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Remove(file) }() // the cache may have
		c, err := blobcache.Open(dir, 1<<20, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		c.SetPatience(time.Minute)
		defer func() { _ = c.Close() }()
		got := c.Open(repository, digest, -1)
		if got != nil {
			data, err := io.ReadAll(got)
			if err != nil || !bytes.Equal(data, good) {
				t.Errorf("%q with %q: a pull gets %q, %v", name, content, data, err)
			}
			_ = got.Close() // only read
		} else if bytes.Equal(content, good) && name == digest.Hex() {
			t.Error("the blob itself is refused")
		}
		list, err := blobcache.List(dir)
		if err != nil || len(list) > 1 && name == digest.Hex() {
			t.Errorf("%q: the list is %+v, %v", name, list, err)
		}
		for _, b := range list {
			if len(b.Digest) != len("sha256:")+64 {
				t.Errorf("the list has %+v", b)
			}
		}
	})
}
