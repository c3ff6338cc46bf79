package blobcache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/felhom/felhom-golden/internal/contract"
)

const (
	// checkPatience is how long a request waits for the check of a blob; after it,
	// the registry is the faster source.
	checkPatience = 5 * time.Second

	// checkSlots bounds the checks at the same time: after a start each blob has to
	// be read once, and guests choose which.
	checkSlots = 2
)

// errEnding is the error of a check that Close ended.
var errEnding = errors.New("the cache is being closed")

// check waits for the check of a blob's content, which it starts if none is under
// way, and reports whether it has ended in time. Any number of callers wait for
// one check.
func (c *Cache) check(e *entry, digest contract.Digest) bool {
	c.mu.Lock()
	select {
	case <-c.ending:
		c.mu.Unlock()
		return false
	default:
	}
	if e.checks == nil {
		e.checks = make(chan struct{})
		c.checking.Go(func() { c.runCheck(e, digest) })
	}
	ended := e.checks
	c.mu.Unlock()
	limit := time.NewTimer(c.patience)
	defer limit.Stop()
	select {
	case <-ended:
		return true
	case <-limit.C:
		return false
	}
}

func (c *Cache) runCheck(e *entry, digest contract.Digest) {
	at, err := c.sum(e.name, digest)
	if err != nil && !errors.Is(err, errEnding) {
		c.dropFaulty(e, err)
	}
	e.using.Lock()
	e.checked = at
	e.using.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	close(e.checks)
	e.checks = nil
}

// sum returns the stamp of the file of a blob, whose content has the digest.
func (c *Cache) sum(name string, digest contract.Digest) (at stamp, err error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-c.ending:
		return stamp{}, errEnding
	}
	file, err := c.openFile(name)
	if err != nil {
		return stamp{}, err
	}
	defer func() { _ = file.Close() }() // only read
	if at, err = stampOf(file); err != nil {
		return stamp{}, err
	}
	const step = 4 << 20
	sum := sha256.New()
	for err == nil {
		select {
		case <-c.ending:
			return stamp{}, errEnding
		default:
			_, err = io.CopyN(sum, file, step)
		}
	}
	if !errors.Is(err, io.EOF) {
		return stamp{}, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest.Hex() {
		return stamp{}, fmt.Errorf("its SHA-256 is %s", got)
	}
	return at, nil
}
