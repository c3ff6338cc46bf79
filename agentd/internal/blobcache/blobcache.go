// Package blobcache keeps blobs of registries on disk, within a limit of bytes:
// call [Open], then [Cache.Open] to read a blob and [Cache.Create] to keep one.
//
// A blob belongs to the repository that it was pulled from, and requests for
// another one do not find it, so that a guest cannot learn what others pulled.
// It gets its name only after its SHA-256 was checked. It is checked again at
// its first use after a start or a change of its file: a file that a loss of
// power damaged is dropped and not served, which is why nothing is synced to
// disk. A fault of the cache is never a fault of the pull: the blob is then not
// kept.
package blobcache

import (
	"cmp"
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/felhom/felhom-golden/internal/contract"
	"github.com/felhom/felhom-golden/internal/filelock"
	"github.com/felhom/felhom-golden/internal/regular"
)

const (
	// largestPart: a blob that is larger than this part of the limit is not kept,
	// because it would replace too many others.
	largestPart = 2
	// touchEvery bounds how often the time of a file's last use is written.
	touchEvery = time.Hour

	// keepFree is what the cache leaves free on its file system, or a twentieth of
	// it if that is less: a full disk harms the host.
	keepFree = 512 << 20

	partSuffix = ".part"
	lockName   = "lock"
)

// Cache is a directory of blobs. All methods may be called on nil, which is a
// cache that keeps nothing, and from many goroutines.
type Cache struct {
	root   *os.Root
	limit  int64
	unlock func() error
	failed func(error)

	mu      sync.Mutex
	entries map[string]*list.Element // by name
	used    list.List                // of *entry, the last used first
	bytes   int64                    // bytes of entries and of blobs that are being written
	pending int64                    // bytes of blobs that are being written
	writing map[string]bool          // names that are being written

	patience time.Duration  // for a check
	slots    chan struct{}  // of checks
	checking sync.WaitGroup // guarded by ending, which mu guards
	ending   chan struct{}  // closed by Close
	end      sync.Once
}

// entry is a blob that is on disk.
type entry struct {
	name   string
	size   int64
	checks chan struct{} // closed when the check under way has ended; nil: none is

	using   sync.Mutex // guards what follows, also while its file is looked at: a disk that hangs holds up no other blob
	checked stamp      // of the file whose content was checked; zero: not yet
	touched time.Time
}

// stamp identifies the file that was checked.
type stamp struct {
	inode             uint64
	size              int64
	modified, changed syscall.Timespec
}

// Open opens the cache in dir for one process, and makes dir if it does not
// exist. It removes what killed writes left and what exceeds limit. failed gets
// the faults because of which a blob is not kept.
func Open(dir string, limit int64, failed func(error)) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open blob cache: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open blob cache: %w", err)
	}
	if err := checkOwn(root); err != nil {
		return nil, errors.Join(fmt.Errorf("open blob cache %s: %w", dir, err), root.Close())
	}
	unlock, err := filelock.Claim(dir + "/" + lockName)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open blob cache %s: %w", dir, err), root.Close())
	}
	c := &Cache{
		root: root, limit: limit, unlock: unlock, failed: failed, entries: map[string]*list.Element{}, writing: map[string]bool{},
		patience: checkPatience, slots: make(chan struct{}, checkSlots), ending: make(chan struct{}),
	}
	if err := c.scan(); err != nil {
		return nil, errors.Join(fmt.Errorf("open blob cache %s: %w", dir, err), c.Close())
	}
	return c, nil
}

// checkOwn refuses a directory in which others can put files.
func checkOwn(root *os.Root) error {
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("other users can write to it (mode %#o); want a directory of this user alone, mode 0700", info.Mode().Perm())
	}
	return nil
}

// Close releases the cache to other processes. Blobs that are being read or
// written must be closed before. Checks end early.
func (c *Cache) Close() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	c.end.Do(func() { close(c.ending) })
	c.mu.Unlock()
	c.checking.Wait()
	return errors.Join(c.unlock(), c.root.Close())
}

// nameOf returns the file of a blob in its repository's directory, whose name
// is a hash of the repository.
func nameOf(repository string, digest contract.Digest) string {
	sum := sha256.Sum256([]byte(repository))
	return hex.EncodeToString(sum[:16]) + "/" + digest.Hex()
}

// isName reports whether a file's name is that of a blob.
func isName(name string) bool {
	dir, base, ok := strings.Cut(name, "/")
	_, err := contract.ParseDigest("sha256:" + base)
	return ok && len(dir) == 32 && strings.Trim(dir, "0123456789abcdef") == "" && err == nil
}

// scan reads what is on disk, the last used first.
func (c *Cache) scan() error {
	var found []*entry
	err := fs.WalkDir(c.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == lockName {
			return err
		}
		if !isName(name) || !d.Type().IsRegular() {
			if strings.HasSuffix(name, partSuffix) {
				return c.root.Remove(name)
			}
			return nil // not of the cache
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		found = append(found, &entry{name: name, size: info.Size(), touched: info.ModTime()})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b *entry) int {
		return cmp.Or(b.touched.Compare(a.touched), strings.Compare(a.name, b.name))
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range found {
		c.entries[e.name] = c.used.PushBack(e)
		c.bytes += e.size
	}
	c.evict(0)
	return nil
}

// evict removes the blobs that were not used for longest until more bytes fit.
// It reports whether they do. c.mu is held.
func (c *Cache) evict(more int64) bool {
	if c.pending+more > c.limit {
		return false
	}
	for c.bytes+more > c.limit {
		e, _ := c.used.Back().Value.(*entry)
		c.drop(e)
	}
	return true
}

// drop removes one blob. Open readers of it keep reading. c.mu is held.
func (c *Cache) drop(e *entry) {
	if have := c.entries[e.name]; have == nil || have.Value != any(e) {
		return // another request has dropped it
	}
	if err := c.root.Remove(e.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.failed(fmt.Errorf("blob cache: %w", err))
	}
	c.used.Remove(c.entries[e.name])
	delete(c.entries, e.name)
	c.bytes -= e.size
}

// Open returns the blob of a repository, or nil if it is not kept or its first
// check takes long, which continues then. size is what its manifest says, or
// negative. The caller closes the file.
func (c *Cache) Open(repository string, digest contract.Digest, size int64) *os.File {
	if c == nil {
		return nil
	}
	name := nameOf(repository, digest)
	c.mu.Lock()
	element := c.entries[name]
	if element == nil {
		c.mu.Unlock()
		return nil
	}
	c.used.MoveToFront(element)
	e, _ := element.Value.(*entry)
	c.mu.Unlock()
	for range 2 {
		file, err := c.open(e, size)
		switch {
		case err == nil:
			return file
		case errors.Is(err, errOtherSize):
			return nil
		case !errors.Is(err, errUnchecked):
			c.dropFaulty(e, err)
			return nil
		case !c.check(e, digest):
			return nil
		}
	}
	return nil // its file has changed again
}

// Broken drops a blob whose file, which Open returned, could not be read to its end: the
// next request has it from the registry.
func (c *Cache) Broken(repository string, digest contract.Digest, err error) {
	if c == nil {
		return
	}
	c.mu.Lock()
	element := c.entries[nameOf(repository, digest)]
	c.mu.Unlock()
	if element == nil {
		return
	}
	e, _ := element.Value.(*entry)
	c.dropFaulty(e, err)
}

func (c *Cache) dropFaulty(e *entry, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !errors.Is(err, fs.ErrNotExist) { // else Prune was faster
		c.failed(fmt.Errorf("blob cache: %s is dropped: %w", e.name, err))
	}
	c.drop(e)
}

var (
	// errOtherSize is the error if a manifest has another size than the blob, whose
	// content was checked.
	errOtherSize = errors.New("the size that was asked for is not the blob's")
	// errUnchecked is the error if the content has to be checked first.
	errUnchecked = errors.New("not checked yet")
)

// open opens the file of a blob whose content was checked.
func (c *Cache) open(e *entry, size int64) (*os.File, error) {
	file, err := c.openFile(e.name)
	if err != nil {
		return nil, err
	}
	at, isChecked, err := c.use(e, file)
	switch {
	case err != nil:
	case !isChecked:
		err = errUnchecked
	case size >= 0 && at.size != size:
		err = errOtherSize
	default:
		return file, nil
	}
	return nil, errors.Join(err, file.Close())
}

// use notes a use of a blob. It returns the stamp of its open file, and reports
// whether that is the file whose content was checked.
func (c *Cache) use(e *entry, file *os.File) (at stamp, isChecked bool, err error) {
	e.using.Lock() // others must not compare a stamp of before the use with one of after it
	defer e.using.Unlock()
	if at, err = stampOf(file); err != nil {
		return stamp{}, false, err
	}
	isChecked = at == e.checked
	if time.Since(e.touched) <= touchEvery {
		return at, isChecked, nil
	}
	e.touched = time.Now()
	// In full seconds, which every file system keeps as they are.
	used := e.touched.Truncate(time.Second)
	_ = c.root.Chtimes(e.name, used, used) // a hint for the order after a start
	if at, err = stampOf(file); err != nil {
		return stamp{}, false, err
	}
	// What was checked stays so with its new times, unless they are another process's.
	if isChecked && time.Unix(at.modified.Unix()).Equal(used) {
		e.checked = at
	}
	return at, at == e.checked, nil
}

func (c *Cache) openFile(name string) (*os.File, error) {
	return regular.OpenIn(c.root, name, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
}

// hasRoom reports whether the file system keeps enough free for others if
// another size bytes are written. It is true if that is not known.
func (c *Cache) hasRoom(size int64) bool {
	dir, err := c.root.Open(".")
	if err != nil {
		return true // Create meets the same error
	}
	defer func() { _ = dir.Close() }() // only looked at
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil || st.Bsize <= 0 || st.Blocks == 0 {
		return true
	}
	free, whole := int64(st.Bavail)*st.Bsize, int64(st.Blocks)*st.Bsize
	return free-size >= min(keepFree, whole/20)
}

func stampOf(file *os.File) (stamp, error) {
	info, err := file.Stat()
	if err != nil {
		return stamp{}, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, errors.New("the system does not identify the file")
	}
	return stamp{inode: st.Ino, size: st.Size, modified: st.Mtim, changed: st.Ctim}, nil
}
