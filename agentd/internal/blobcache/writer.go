package blobcache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

// Writer writes one blob. A fault ends it and is not an error for the caller.
type Writer struct {
	cache    *Cache
	name     string // of the blob
	part     string // of the file that is written
	digest   contract.Digest
	reserved int64
	file     *os.File
	sum      hash.Hash
	written  int64
	err      error
	isDone   bool
}

// Create returns a writer for a blob of size bytes, or nil if it cannot be kept:
// it is too large, it is kept already, or another one is writing it. The caller
// closes the writer.
func (c *Cache) Create(repository string, digest contract.Digest, size int64) *Writer {
	if c == nil || size < 0 || size > c.limit/largestPart {
		return nil
	}
	name := nameOf(repository, digest)
	c.mu.Lock()
	if c.entries[name] != nil || c.writing[name] || !c.hasRoom(size) || !c.evict(size) {
		c.mu.Unlock()
		return nil
	}
	c.bytes += size
	c.pending += size
	c.writing[name] = true
	c.mu.Unlock()
	w := &Writer{cache: c, name: name, part: name + "." + rand.Text()[:8] + partSuffix, digest: digest, reserved: size, sum: sha256.New()}
	dir, _, _ := strings.Cut(name, "/")
	err := c.root.Mkdir(dir, 0o700)
	if err == nil || errors.Is(err, fs.ErrExist) {
		w.file, err = c.root.OpenFile(w.part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		c.failed(fmt.Errorf("blob cache: %w", err))
		w.release(nil)
		return nil
	}
	return w
}

// Write implements [io.Writer]. After an error nothing more is written.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.file.Write(p)
	w.written += int64(n)
	_, _ = w.sum.Write(p[:n]) // never fails
	if err == nil && w.written > w.reserved {
		err = errors.New("the blob is longer than announced")
	}
	if w.err = err; err != nil {
		w.cache.failed(fmt.Errorf("blob cache: %s is not kept: %w", w.name, err))
	}
	return n, err
}

// Commit keeps the blob, if all of it was written and is what its digest says.
func (w *Writer) Commit() {
	if w.err != nil || w.isDone || w.written != w.reserved {
		return
	}
	if got := hex.EncodeToString(w.sum.Sum(nil)); got != w.digest.Hex() {
		w.cache.failed(fmt.Errorf("blob cache: %s is not kept: its SHA-256 is %s", w.name, got))
		return
	}
	if err := w.cache.root.Rename(w.part, w.name); err != nil {
		w.cache.failed(fmt.Errorf("blob cache: %s is not kept: %w", w.name, err))
		return
	}
	e := &entry{name: w.name, size: w.written, touched: time.Now()}
	if at, err := stampOf(w.file); err == nil {
		e.checked = at // only the name has changed
	}
	w.release(e)
}

// Close ends the writer. A blob that was not committed is removed.
func (w *Writer) Close() {
	if !w.isDone {
		w.release(nil)
	}
}

func (w *Writer) release(kept *entry) {
	c := w.cache
	w.isDone = true
	if w.file != nil {
		if err := w.file.Close(); err != nil && kept == nil {
			c.failed(fmt.Errorf("blob cache: %w", err))
		}
	}
	if kept == nil {
		if err := c.root.Remove(w.part); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.failed(fmt.Errorf("blob cache: %w", err))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.writing, w.name)
	c.bytes -= w.reserved
	c.pending -= w.reserved
	if kept != nil {
		c.entries[kept.name] = c.used.PushFront(kept)
		c.bytes += kept.size
	}
}
